{% load static %}// The smartphone page's service worker. Without a connection, it shows the last page
// that console.js has stored, with the time of that page.
"use strict";
const FILES = ["{% static 'console/console.css' %}", "{% static 'console/icon.svg' %}"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open("coconowork-files").then((files) => files.addAll(FILES)));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const isPage = request.mode === "navigate";
  if (request.method !== "GET" || !(isPage || FILES.includes(new URL(request.url).pathname))) return;
  const known = async () => (await caches.match(isPage ? "{% url 'app' %}" : request)) ?? Response.error();
  event.respondWith(fetch(request).catch(known));
});
