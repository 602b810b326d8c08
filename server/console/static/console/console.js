// Improve pages that work without a script as well: live updates, showing passwords, copying.
"use strict";

const LIVE_EVERY_MS = 3000;
const QUIET_EVERY_MS = 15000; // when nothing has changed for a minute
const QUIET_AFTER = 20; // polls
const SOON_MS = 1000; // while something is on its way to a PC

// Passwords: a button beside each field shows and hides what was typed.
for (const button of document.querySelectorAll("[data-reveal]")) {
  const field = document.getElementById(button.dataset.reveal);
  button.hidden = false;
  const show = (visible) => {
    field.type = visible ? "text" : "password";
    button.textContent = visible ? button.dataset.hide : button.dataset.show;
  };
  button.addEventListener("click", () => show(field.type === "password"));
  // Hide the password again: browsers remember what a visible text field held when it is sent.
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

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

document.querySelector("[data-focus]")?.focus();

// The switch is on only while PCs below it wait, and keeps the user's choice. While the switch is
// off, no PC is ticked; when it is on again, the same PCs are ticked as before.
class Push {
  constructor(box) {
    this.toggle = box.querySelector("#id_push");
    this.part = box.querySelector("[data-live]");
    this.wanted = this.toggle.checked || this.toggle.disabled;
    this.off = new Set(); // PCs that the user has unticked
    this.late = new Set(); // PCs that get the password at their next login
    this.remember();
    this.toggle.addEventListener("change", () => {
      if (!this.toggle.checked) this.noteUnticked();
      else if (this.boxes.every((box) => this.off.has(box.value))) this.off.clear();
      this.wanted = this.toggle.checked;
      this.apply();
    });
    this.part.addEventListener("change", () => this.preview());
    this.apply();
  }

  get boxes() {
    return [...this.part.querySelectorAll("input[type=checkbox][name=device]")];
  }

  noteUnticked() {
    this.off = new Set(this.boxes.filter((box) => !box.checked).map((box) => box.value));
  }

  remember() {
    if (this.toggle.checked) this.noteUnticked();
    this.late = new Set([...this.part.querySelectorAll("[name=late]:checked")].map((box) => box.value));
  }

  apply() {
    const waiting = this.part.querySelector("[name=device]") !== null;
    this.toggle.disabled = !waiting;
    this.toggle.checked = waiting && this.wanted;
    for (const box of this.boxes) {
      box.disabled = !this.toggle.checked;
      box.checked = this.toggle.checked && !this.off.has(box.value);
    }
    for (const box of this.part.querySelectorAll("[name=late]")) box.checked = this.late.has(box.value);
    this.preview();
  }

  // Show below the switch which PCs take the new password now.
  preview() {
    for (const each of this.part.querySelectorAll("[data-takes], [data-keeps]")) {
      const pc = each.dataset.takes ?? each.dataset.keeps;
      const box = this.part.querySelector(`[name=device][value="${pc}"]`);
      const takes = this.toggle.checked && box !== null && (box.type === "hidden" || box.checked);
      each.hidden = takes !== "takes" in each.dataset;
    }
    for (const group of this.part.querySelectorAll("[data-group]")) {
      group.hidden = group.querySelector("li:not([hidden])") === null;
    }
  }
}

const push = document.querySelector("[data-push]") && new Push(document.querySelector("[data-push]"));

// Ignore tokens against forged forms, which differ in each answer, and the switch's disabled boxes.
const comparable = (html) => html.replace(/name="csrfmiddlewaretoken" value="[^"]*"| disabled=""/g, "");

// Send a form once, and end polling then: the answer to the form is the next page, perhaps with a
// new session, and a late answer to a poll must not replace that page.
let leaving = new AbortController();

document.addEventListener("submit", (event) => {
  if (leaving.signal.aborted) event.preventDefault();
  else if (!event.defaultPrevented) leaving.abort();
});

// Resume polling when the back button shows a page from the browser's memory.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  leaving = new AbortController();
  tick();
});

// The smartphone page shows its last known state and the time: this script does so when polls fail,
// and the service worker when the page is opened without a connection. For that, the page is stored
// as it is shown, without forms; log-out deletes it.
const PAGES = "coconowork-app";
const worker = document.querySelector("[data-worker]")?.dataset.worker;
const offline = document.querySelector("[data-offline]");
if (document.querySelector("[data-login]")) globalThis.caches?.delete(PAGES);
if (worker) navigator.serviceWorker?.register(worker);

async function noteConnection(connected) {
  if (!offline) return;
  offline.hidden = connected;
  if (!connected) return;
  const { lang } = document.documentElement;
  offline.firstElementChild.textContent = new Date().toLocaleString(lang, { dateStyle: "medium", timeStyle: "short" });
  if (!globalThis.caches) return;
  const page = document.documentElement.cloneNode(true);
  const unwanted = "script, form, .skip, .button, [role=status]:not([data-offline])";
  for (const each of page.querySelectorAll(unwanted)) each.remove();
  page.querySelector("[data-offline]").hidden = false;
  const policy = "default-src 'none'; style-src 'self'; img-src 'self'";
  const headers = { "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy };
  const pages = await caches.open(PAGES);
  if (leaving.signal.aborted) return;
  await pages.put(location.pathname, new Response(`<!doctype html>${page.outerHTML}`, { headers }));
}

// Fetch live parts again every few seconds while the page is visible.
async function refresh(part) {
  const { signal } = leaving;
  const headers = { "If-None-Match": part.dataset.version ?? "" };
  const response = await fetch(part.dataset.live, { redirect: "manual", cache: "no-store", headers, signal });
  if (signal.aborted) return;
  if (response.status === 401 || response.type === "opaqueredirect") {
    location.reload(); // the session has ended: the login page says so
    return;
  }
  if (!response.ok) return; // 304: there is nothing new
  const fresh = document.createElement("template");
  const { html, version } = await response.json();
  fresh.innerHTML = html;
  if (signal.aborted) return;
  part.dataset.version = version;
  if (comparable(fresh.innerHTML) === comparable(part.innerHTML)) return;
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  const mine = push && push.part === part;
  if (mine) push.remember();
  quiet = 0;
  part.replaceChildren(fresh.content);
  if (mine) push.apply();
  if (focused) document.getElementById(focused)?.focus();
}

const parts = [...document.querySelectorAll("[data-live]")];
let timer = 0;
let quiet = 0; // polls since the last change

function tickLater() {
  clearTimeout(timer);
  if (leaving.signal.aborted) return;
  const soon = parts.some((part) => part.querySelector("[data-soon]"));
  quiet += 1;
  timer = setTimeout(tick, soon ? SOON_MS : quiet > QUIET_AFTER ? QUIET_EVERY_MS : LIVE_EVERY_MS);
}

async function tick() {
  clearTimeout(timer);
  if (document.hidden || leaving.signal.aborted) return;
  const open = parts.filter((part) => !part.querySelector("[data-settled]"));
  const polls = await Promise.allSettled(open.map(refresh));
  if (!leaving.signal.aborted) noteConnection(polls.every((poll) => poll.status === "fulfilled"));
  tickLater();
}

if (parts.length) {
  document.addEventListener("visibilitychange", tick);
  noteConnection(true);
  tickLater();
}
