// What pages can do with a script and do without one: live updates, showing passwords, copying.
"use strict";

const LIVE_EVERY_MS = 3000;

// Passwords: a button beside each field shows and hides what was typed.
for (const button of document.querySelectorAll("[data-reveal]")) {
  const field = document.getElementById(button.dataset.reveal);
  button.hidden = false;
  const show = (visible) => {
    field.type = visible ? "text" : "password";
    button.textContent = visible ? button.dataset.hide : button.dataset.show;
    button.setAttribute("aria-pressed", String(visible));
  };
  button.addEventListener("click", () => show(field.type === "password"));
  // Browsers remember what stands in a text field when a form is sent.
  field.form.addEventListener("submit", () => show(false));
}

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = button.dataset.done;
  });
}

document.querySelector("[data-focus]")?.focus();

// The switch follows the PCs below it; what the user has set is kept where it still makes sense.
class Push {
  constructor(box) {
    this.toggle = box.querySelector("#id_push");
    this.part = box.querySelector("[data-live]");
    this.wanted = this.toggle.checked || this.toggle.disabled;
    this.toggle.addEventListener("change", () => { this.wanted = this.toggle.checked; });
  }

  before() {
    const boxes = this.part.querySelectorAll("input[type=checkbox][name=device]");
    this.off = new Set([...boxes].filter((box) => !box.checked).map((box) => box.value));
  }

  after() {
    for (const box of this.part.querySelectorAll("input[type=checkbox][name=device]")) {
      if (this.off.has(box.value)) box.checked = false;
    }
    const waiting = this.part.querySelector("[name=device]") !== null;
    this.toggle.disabled = !waiting;
    this.toggle.checked = waiting && this.wanted;
  }
}

const push = document.querySelector("[data-push]") && new Push(document.querySelector("[data-push]"));

// Tokens against forged forms are masked anew in each answer.
const comparable = (html) => html.replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, "");

// Live parts: fetched again every few seconds while somebody can see them.
async function refresh(part) {
  const response = await fetch(part.dataset.live, { redirect: "manual", cache: "no-store" });
  if (response.type === "opaqueredirect") {
    location.reload(); // the session has ended: the login page says so
    return;
  }
  if (!response.ok) return;
  const fresh = document.createElement("template");
  fresh.innerHTML = (await response.json()).html;
  if (comparable(fresh.innerHTML) === comparable(part.innerHTML)) return;
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  const mine = push && push.part === part;
  if (mine) push.before();
  part.replaceChildren(fresh.content);
  if (mine) push.after();
  if (focused) document.getElementById(focused)?.focus();
}

const parts = [...document.querySelectorAll("[data-live]")];
let timer = 0;

async function tick() {
  clearTimeout(timer);
  if (document.hidden) return;
  await Promise.allSettled(parts.filter((part) => !part.querySelector("[data-settled]")).map(refresh));
  timer = setTimeout(tick, LIVE_EVERY_MS);
}

if (parts.length) {
  document.addEventListener("visibilitychange", tick);
  timer = setTimeout(tick, LIVE_EVERY_MS);
}
