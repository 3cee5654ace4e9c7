"use strict";
// What the pages share: texts are set as texts, and what is sent is sent until it is saved.
const page = (() => {
  const $ = (id) => document.getElementById(id);
  const token = document.querySelector('meta[name="token"]').content;
  const made = (name, text, className) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  // What is not seen, or turns the line, is shown as an escape.
  const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
  const shown = (text) => text.replace(hidden, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const say = (text, bad) => {
    $("saved").textContent = text;
    $("saved").className = bad ? "bad" : "";
  };
  const ask = (path, body) => fetch(path, body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Curate-Token": token },
    body: JSON.stringify(body),
  });
  // What a server says of a request that it refuses: in words, or as {"error": words}.
  const refusal = async (response) => {
    const text = await response.text();
    try { return String(JSON.parse(text).error ?? text); } catch { return text; }
  };
  // Sends until the server has answered; what it refuses is said, and comes back as null.
  const send = async (path, body) => {
    for (let wait = 200; ; wait = Math.min(5000, wait * 2)) {
      try {
        say("saving");
        const response = await ask(path, body);
        if (response.ok) {
          const state = await response.json();
          say("saved");
          return state;
        }
        if (response.status < 500) {
          say(`not saved: ${shown((await refusal(response)).slice(0, 600))}`, true);
          return null;
        }
      } catch { /* the server is away: it may come back */ }
      say("not saved, trying again", true);
      await new Promise((done) => setTimeout(done, wait));
    }
  };
  return { $, made, shown, say, ask, refusal, send };
})();
