"use strict";
/* The review page.

   What is decided goes into an outbox first (kept by the browser, so that a closed tab loses
   nothing), then to the server, in order, each with a key of its own, again and again until the
   server says that the disk has it. The same key twice is one decision, so asking again is safe.

   Nothing that comes from the data is ever read as markup: all of it is set as text. */

(() => {
  const $ = (id) => document.getElementById(id);
  const DIGITS = "1234567890";
  const PRELOAD = 3;
  const POLL_MS = 4000;
  const MOST_ROWS = 400;

  let queue = null;
  let events = [];          // the journal, as far as it was read
  let outbox = [];          // {seq, path, body}: not acknowledged yet
  let settled = [];         // acknowledged, but not read back from the journal yet
  let refused = [];         // what the server would not take, with its reason as `refused`
  let people = new Map();   // sample -> Map(reviewer -> decision)
  let statuses = new Map(); // sample -> what its opinions come to, found out when asked
  let standing = [];        // decisions that were not taken back, oldest first
  let order = [];           // what the filters let through, as places in queue.items
  let at = -1;              // place in `order`; order.length when there is nothing left
  let draft = null;         // multi-label: the classes as the reviewer sets them
  let revealed = new Set(); // samples whose other opinions are shown
  let reviewer = "";
  let filter = { kind: "", show: "todo", label: "", text: "" };
  let trouble = "";         // why the outbox is not empty
  let isOver = false;       // the server was started anew: this address is void
  let sending = false;

  // Helpers ---------------------------------------------------------------------------------------

  function el(tag, settings = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(settings)) {
      if (name === "class") node.className = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
  }

  function key() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  const percent = (share) => (share >= 0.995 && share < 1 ? "> 99" : Math.round(100 * share)) + " %";
  const listed = (labels) => (labels.length ? labels.join(", ") : "none");
  const same = (a, b) => a != null && b != null && a.length === b.length && a.every((name) => b.includes(name));

  function remembered(store, name) {
    try { return store.getItem(name); } catch { return null; }
  }
  function remember(store, name, value) {
    try {
      if (value === null) store.removeItem(name); else store.setItem(name, value);
      return true;
    } catch { return false; }
  }

  // What was decided ------------------------------------------------------------------------------

  function replay() {
    const seen = new Set();
    const all = [];
    const waiting = [...settled, ...outbox].map(({ path, body, at: when }) =>
      path === "undo" ? { key: body.key, undo: body.of, reviewer: body.reviewer } : { ...body, at: when });
    for (const line of [...events, ...waiting]) {
      if (!seen.has(line.key)) { seen.add(line.key); all.push(line); }
    }
    const undone = new Set(all.filter((line) => line.undo).map((line) => line.undo));
    standing = all.filter((line) => !line.undo && !undone.has(line.key));
    people = new Map();
    statuses = new Map();
    // What was said of a copy that is not here comes before what was said of the sample itself.
    for (const isOwn of [false, true]) {
      for (const line of standing) {
        for (const sample of places(line)) {
          if ((Boolean(line.content) && sample === line.sample) !== isOwn) continue;
          if (!people.has(sample)) people.set(sample, new Map());
          people.get(sample).set(line.reviewer, line);
        }
      }
    }
  }

  /* The samples that a decision is about; what was changed or moved since is called otherwise now. */
  const places = (decision) => decision.samples ?? [decision.sample];

  /* What a decision says of an item's label as it is now: what was kept may be another by now. */
  function opinion(decision, item) {
    const labels = decision.action === "keep" ? decision.kept ?? item.given ?? [] : decision.labels;
    return same(labels, item.given) ? "keep" : `change\n${labels.join("\n")}`;
  }

  /* Where nothing was labelled before, reviewers name the classes. */
  function classes() {
    if (!queue.open) return queue.classes;
    return [...new Set([...queue.classes, ...standing.flatMap((decision) => decision.labels)])].sort();
  }

  const mine = (item) => people.get(item.sample)?.get(reviewer) ?? null;
  const others = (item) => [...(people.get(item.sample)?.values() ?? [])].filter((d) => d.reviewer !== reviewer);

  function status(item) {
    if (!people.has(item.sample)) return "todo";
    if (!statuses.has(item.sample)) statuses.set(item.sample, judge(item));
    return statuses.get(item.sample);
  }

  function judge(item) {
    const counts = new Map();
    let skips = 0;
    for (const decision of people.get(item.sample)?.values() ?? []) {
      if (decision.action === "skip") { skips += 1; continue; }
      const said = opinion(decision, item);
      counts.set(said, (counts.get(said) ?? 0) + 1);
    }
    if (!counts.size) return skips ? "skipped" : "todo";
    const votes = [...counts.values()].sort((a, b) => b - a);
    return votes.length > 1 && votes[0] === votes[1] ? "divided" : "decided";
  }

  const hasOpinion = (item) => ["decided", "divided"].includes(status(item));

  const SHOWN = {
    todo: (item) => !hasOpinion(item) && !mine(item),
    second: (item) => hasOpinion(item) && !mine(item),
    decided: hasOpinion,
    divided: (item) => status(item) === "divided",
    skipped: (item) => status(item) === "skipped",
    all: () => true,
  };

  function inScope(item) {
    const { kind, label, text } = filter;
    return (!kind || item.kind === kind)
      && (!label || (item.given ?? []).includes(label) || (item.suggested ?? []).includes(label))
      && (!text || item.sample.toLowerCase().includes(text.toLowerCase()));
  }

  function words(decision) {
    if (decision.action === "keep") return decision.kept ? `kept the label ${listed(decision.kept)}` : "kept the label";
    if (decision.action === "skip") return "skipped it";
    return `changed it to ${listed(decision.labels)}`;
  }

  // The outbox ------------------------------------------------------------------------------------

  const prefix = () => `regraft-review:${queue.id}:`;

  function loadOutbox() {
    const found = new Map(outbox.map((entry) => [entry.body.key, entry]));
    try {
      for (let i = 0; i < localStorage.length; i += 1) {
        const name = localStorage.key(i);
        if (!name.startsWith(prefix())) continue;
        const entry = JSON.parse(localStorage.getItem(name));
        if (!found.has(entry.body.key)) found.set(entry.body.key, entry);
      }
    } catch { /* a browser that keeps nothing: the memory of the tab has to do */ }
    outbox = [...found.values()].sort((a, b) => a.seq - b.seq);
  }

  function post(path, body) {
    const last = outbox.length ? outbox[outbox.length - 1].seq : 0;
    const entry = { seq: Math.max(Date.now(), last + 1), at: new Date().toISOString(), path, body };
    outbox.push(entry);
    entry.kept = remember(localStorage, prefix() + body.key, JSON.stringify(entry));
    replay();
    send();
  }

  function forget(entry) {
    outbox = outbox.filter((other) => other !== entry);
    remember(localStorage, prefix() + entry.body.key, null);
  }

  /* What is not taken now may be at the next start, with the pool that it is about, or the class. */
  function setAside(entry, reason) {
    outbox = outbox.filter((other) => other !== entry);
    entry.refused = reason;
    entry.kept = remember(localStorage, prefix() + entry.body.key, JSON.stringify(entry));
    refused.push(entry);
    replay();
  }

  function forgetRefused() {
    for (const entry of refused) remember(localStorage, prefix() + entry.body.key, null);
    refused = [];
    drawState();
  }

  function notTaken() {
    const last = refused[refused.length - 1];
    const more = refused.length > 1 ? ` (and ${refused.length - 1} more)` : "";
    const kept = refused.every((entry) => entry.kept) ? "This browser keeps what was not taken, and offers it again at the next start." : "It is not kept.";
    return `Not taken: ${last.body.sample ?? "Undo"}: ${last.refused}${more} ${kept}`;
  }

  async function send() {
    if (sending || isOver) return;
    sending = true;
    let pause = 400;
    while (outbox.length && !isOver) {
      const entry = outbox[0];
      const reply = await ask(entry.path, entry.body);
      if (reply.ok) {
        settled.push(entry);
        forget(entry);
        trouble = "";
        pause = 400;
      } else if (reply.status === 403) {
        isOver = true;
      } else if (reply.status >= 400 && reply.status < 500 && reply.status !== 408) {
        setAside(entry, reply.error);
      } else {
        trouble = reply.error;
        drawState();
        await new Promise((done) => setTimeout(done, pause));
        pause = Math.min(2 * pause, 5000);
      }
      drawState();
    }
    sending = false;
    if (!isOver) await poll();
    drawState();
  }

  async function ask(path, body) {
    const settings = { signal: AbortSignal.timeout(15000), cache: "no-store" };
    if (body) {
      Object.assign(settings, {
        method: "POST", keepalive: true,
        headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
      });
    }
    try {
      const reply = await fetch(path, settings);
      const value = await reply.json();
      return { ok: reply.ok, status: reply.status, value, error: value.error ?? "" };
    } catch {
      return { ok: false, status: 0, value: null, error: "The server does not answer." };
    }
  }

  async function poll() {
    const reply = await ask(`events/${events.length}`);
    if (reply.status === 403) { isOver = true; drawState(); return; }
    if (!reply.ok) return;
    const before = events.length;
    events = [...events.slice(0, reply.value.from), ...reply.value.events];
    const read = new Set(reply.value.events.map((line) => line.key));
    settled = settled.filter((entry) => !read.has(entry.body.key));
    if (events.length !== before || reply.value.from !== before) { replay(); drawCounts(); drawPanel(); }
  }

  // Going through ---------------------------------------------------------------------------------

  const current = () => (at >= 0 && at < order.length ? queue.items[order[at]] : null);

  function refilter(keep) {
    const places = queue.items.map((_, place) => place).filter((place) => inScope(queue.items[place]));
    order = places.filter((place) => SHOWN[filter.show](queue.items[place]) || place === keep);
    at = keep == null ? 0 : Math.max(0, order.indexOf(keep));
    draft = null;
    draw();
  }

  function go(to) {
    at = Math.max(0, Math.min(order.length, to));
    draft = null;
    draw();
    $("stage").scrollTop = 0;
  }

  function goOn() {
    if (!["todo", "second"].includes(filter.show)) return go(at + 1);
    const open = (place) => SHOWN[filter.show](queue.items[order[place]]);
    for (let step = 1; step <= order.length; step += 1) {
      const place = (at + step) % order.length;
      if (open(place)) return go(place);
    }
    return go(order.length);
  }

  function show(sample) {
    const place = queue.items.findIndex((item) => item.sample === sample);
    if (place < 0) return;
    if (!order.includes(place)) order.splice(Math.max(0, at), 0, place);
    go(order.indexOf(place));
  }

  function decide(action, labels = []) {
    const item = current();
    if (!item) return;
    if (action === "keep" && !item.given) return;
    if (action === "change" && same(labels, item.given)) { action = "keep"; labels = []; }
    post("decide", { key: key(), sample: item.sample, content: item.content, reviewer, action, labels });
    const what = { keep: `Kept ${listed(item.given ?? [])}`, skip: "Skipped" }[action]
      ?? (item.given ? `Changed ${listed(item.given)} to ${listed(labels)}` : `Labelled ${listed(labels)}`);
    say(`${what}: ${item.sample}. U takes it back.`);
    goOn();
  }

  function undo() {
    const last = standing.filter((decision) => decision.reviewer === reviewer).pop();
    if (!last) { say("There is nothing of yours to take back."); return; }
    post("undo", { key: key(), of: last.key, reviewer });
    say(`Taken back: ${last.sample}.`);
    show(places(last)[0] ?? last.sample);
    draw();
  }

  function proposal(item) {
    if (queue.multilabel && draft && !same(draft, item.given)) return draft;
    return item.suggested;
  }

  function accept() {
    const item = current();
    const labels = item && proposal(item);
    if (labels) decide("change", labels); else say("There is no suggestion to take.");
  }

  function take(name) {
    if (!current()) return;
    if (!queue.multilabel) { decide("change", [name]); return; }
    const set = new Set(draft ?? current().given ?? []);
    if (!set.delete(name)) set.add(name);
    draft = classes().filter((other) => set.has(other));
    drawPanel();
  }

  /* The classes that have a key, as pairs of key and name. Few classes keep their keys for good,
     so that fingers learn them; classes that are called by a digit have it as their key. */
  function keyed(item) {
    const all = classes();
    if (all.length > DIGITS.length) {
      const likely = item.chances.map(([name]) => name);
      return (likely.length ? likely : all).slice(0, 9).map((name, place) => [DIGITS[place], name]);
    }
    const areDigits = all.every((name) => name.length === 1 && DIGITS.includes(name));
    return all.map((name, place) => [areDigits ? name : DIGITS[place], name]);
  }

  // Drawing ---------------------------------------------------------------------------------------

  const pictures = new Map();

  function picture(row) {
    if (!pictures.has(row)) {
      const image = new Image();
      image.decoding = "async";
      image.addEventListener("load", () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) < 420));
      image.src = `picture/${row}`;
      pictures.set(row, image);
    }
    const image = pictures.get(row);
    pictures.delete(row);
    pictures.set(row, image);
    for (const old of [...pictures.keys()].slice(0, Math.max(0, pictures.size - 12))) pictures.delete(old);
    return image;
  }

  function draw() {
    drawStage();
    drawPanel();
    drawCounts();
    drawState();
  }

  function drawStage() {
    const item = current();
    if (!item) { $("stage").replaceChildren(finished()); return; }
    const size = item.is_text ? "" : `${item.size[1]} × ${item.size[0]} px`;
    const name = el("p", { class: "name" }, el("code", {}, item.sample), el("span", {}, size));
    if (item.is_text) {
      const box = el("div", { class: "text", dir: "auto" });
      $("stage").replaceChildren(box, name);
      fill(box, item);
    } else {
      const image = picture(item.row);
      image.alt = `The sample ${item.sample}`;
      image.onerror = () => broken(item);
      const frame = el("div", { class: "frame" }, image);
      $("stage").replaceChildren(...[frame, name, examples(item)].filter(Boolean));
      if (image.complete && !image.naturalWidth) broken(item);
    }
    for (let step = 1; step <= PRELOAD; step += 1) {
      const next = queue.items[order[at + step]];
      if (next && !next.is_text) picture(next.row);
    }
  }

  async function fill(box, item) {
    const reply = await ask(`text/${item.row}`);
    box.textContent = reply.ok ? reply.value.text : reply.error;
    box.classList.toggle("long", box.textContent.length > 1500);
    if (reply.ok && reply.value.cut) box.append(el("p", { class: "soft" }, "The text goes on; only its beginning is shown."));
  }

  async function broken(item) {
    pictures.delete(item.row);
    const reply = await ask(`picture/${item.row}`);
    if (current() === item) {
      const why = reply.error || "The picture cannot be shown.";
      $("stage").replaceChildren(el("p", { class: "note" }, `${item.sample}: ${why}`));
    }
  }

  function finished() {
    const scope = queue.items.filter(inScope);
    const done = scope.filter(hasOpinion).length;
    const said = !scope.length ? "No sample fits these filters."
      : filter.show === "todo" && done === scope.length ? "Everything here is decided."
      : filter.show === "todo" ? "Nothing is left to do here."
      : "That was all of these.";
    const box = el("div", { class: "done" }, el("h2", {}, said));
    if (scope.length) box.append(el("p", { class: "soft" }, `${done} of ${scope.length} samples are decided. The decisions are in ${queue.journal}; the data are as they were.`));
    const others = scope.length - done;
    if (filter.show === "todo" && others) box.append(el("p", { class: "soft" }, `${others} were skipped; “show: skipped” has them.`));
    box.append(el("p", { class: "soft" }, "To end the review, press Ctrl-C where it was started."));
    return box;
  }

  function drawPanel() {
    const item = current();
    if (!item) { $("panel").replaceChildren(lastWords()); return; }
    const had = document.activeElement?.dataset?.focus;
    const parts = [why(item), myWord(item), choices(item), otherClasses(item), rest(), voices(item)];
    $("panel").replaceChildren(...parts.filter(Boolean));
    if (had) $("panel").querySelector(`[data-focus="${CSS.escape(had)}"]`)?.focus();
  }

  function lastWords() {
    return el("div", { class: "row" }, button("Take back the last", "U", undo, "undo"), button("Back", "←", () => go(at - 1), "back"));
  }

  function button(text, hint, act, focus) {
    return el("button", { type: "button", onclick: act, "data-focus": focus }, text, el("kbd", { "aria-hidden": "true" }, hint));
  }

  function why(item) {
    const name = queue.one_of_kind[item.kind];
    const score = item.score == null ? "" : item.kind === "error" ? `suspicion ${percent(item.score)}` : item.kind === "divided" ? `disagreement ${percent(item.score)}` : "";
    return el("div", { class: "why" },
      el("p", { class: "kind" }, el("span", {}, name[0].toUpperCase() + name.slice(1)), el("span", {}, score)),
      el("p", { class: "reason" }, item.reason));
  }

  function myWord(item) {
    const decision = mine(item);
    return decision && el("p", { class: "mine" }, `You ${words(decision)}.`);
  }

  function choices(item) {
    const chance = new Map(item.chances);
    const box = el("div", { class: "choices" });
    const decided = mine(item);
    const choice = (verb, labels, hint, act, main, focus) => {
      const share = !queue.multilabel && chance.has(labels[0]) ? percent(chance.get(labels[0])) : "";
      const done = decided && (focus === "keep" ? opinion(decided, item) === "keep" : decided.action === "change" && same(decided.labels, labels));
      return el("button", { type: "button", class: `choice${main ? " main" : ""}${done ? " chosen" : ""}`, onclick: act, "data-focus": focus, "aria-keyshortcuts": hint },
        el("span", {}, el("span", { class: "verb" }, verb), el("span", { class: "label", dir: "auto" }, listed(labels))),
        el("span", { class: "end" }, el("span", { class: "share" }, share), el("kbd", { "aria-hidden": "true" }, hint)));
    };
    if (item.given) box.append(choice("Keep the label", item.given, "K", () => decide("keep"), false, "keep"));
    const labels = proposal(item);
    if (labels) {
      const own = labels === draft;
      const verb = own ? "Change to your choice" : item.given ? "Change to the suggestion" : "Label as suggested";
      box.append(choice(verb, labels, "Enter", () => decide("change", labels), true, "accept"));
    }
    return box;
  }

  function otherClasses(item) {
    const chance = new Map(item.chances);
    const names = keyed(item);
    const on = new Set(draft ?? item.given ?? []);
    const rows = names.map(([digit, name], place) => {
      const share = chance.get(name);
      const tags = [item.given?.includes(name) && "given", item.suggested?.includes(name) && !same(item.given, item.suggested) && !item.given?.includes(name) && "suggested"].filter(Boolean);
      const row = el("button", {
        type: "button", class: "other", onclick: () => take(name), "data-focus": `class ${place}`,
        "aria-pressed": queue.multilabel ? String(on.has(name)) : null,
      },
        el("kbd", { "aria-hidden": "true" }, digit),
        el("span", {}, el("span", { class: "label", dir: "auto" }, name), ...tags.map((tag) => el("span", { class: "tag" }, tag))),
        el("span", { class: "share" }, share >= 0.005 ? percent(share) : ""));
      row.style.setProperty("--s", share ?? 0);
      return row;
    });
    const title = queue.multilabel ? "Classes that apply" : classes().length > names.length ? "The likeliest classes" : "All classes";
    const areShort = names.length > 5 && names.every(([, name]) => name.length <= 12);
    const box = el("div", { class: "others" }, el("h2", {}, names.length ? title : "No class has a name yet"), el("div", { class: areShort ? "two" : "one" }, ...rows));
    if (classes().length > names.length || queue.open) {
      box.append(el("button", { type: "button", class: "other", onclick: choose, "data-focus": "find" },
        el("kbd", { "aria-hidden": "true" }, "C"), el("span", {}, queue.open ? "Another class…" : `Find one of ${classes().length} classes…`), el("span")));
    }
    return box;
  }

  function rest() {
    return el("div", { class: "row" },
      button("Skip", "S", () => decide("skip"), "skip"), button("Undo", "U", undo, "undo"),
      button("Back", "←", () => go(at - 1), "back"), button("On", "→", () => go(at + 1), "on"));
  }

  function voices(item) {
    const said = others(item);
    if (!said.length) return null;
    if (mine(item) || revealed.has(item.sample)) {
      return el("div", { class: "voices" }, ...said.map((decision) => el("p", {}, el("b", {}, decision.reviewer), ` ${words(decision)}`, el("span", { class: "soft" }, when(decision)))));
    }
    const count = said.length === 1 ? "Another reviewer has" : `${said.length} other reviewers have`;
    const reveal = () => { revealed.add(item.sample); drawPanel(); };
    return el("div", { class: "voices" }, el("p", { class: "soft" }, `${count} decided on this.`), button("Show their decisions", "W", reveal, "reveal"));
  }

  function examples(item) {
    if (item.is_text) return null;
    const names = [...new Set([...(item.given ?? []), ...(item.suggested ?? [])])].slice(0, 3);
    const sets = names.map((name) => [name, (queue.examples[classes().indexOf(name)] ?? []).filter((row) => row !== item.row)]);
    const shown = sets.filter(([, rows]) => rows.length);
    if (!shown.length) return null;
    return el("div", { class: "like" }, ...shown.map(([name, rows]) => el("div", {},
      el("h2", {}, `Typical of ${name}`),
      el("ul", {}, ...rows.slice(0, 6).map((row) => {
        return el("li", {}, el("img", { src: `small/${row}`, alt: "", width: 96, height: 96 }));
      })))));
  }

  function when(decision) {
    const date = new Date(decision.at);
    return decision.at && !Number.isNaN(date.getTime()) ? `, ${date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}` : "";
  }

  function drawCounts() {
    const scope = queue.items.filter(inScope);
    const done = scope.filter(hasOpinion).length;
    $("progress").textContent = `${done.toLocaleString()} of ${scope.length.toLocaleString()} decided${current() ? `; this is ${(at + 1).toLocaleString()} of ${order.length.toLocaleString()}` : ""}`;
    $("meter").setAttribute("aria-valuemax", scope.length);
    $("meter").setAttribute("aria-valuenow", done);
    $("meter").style.setProperty("--done", scope.length ? done / scope.length : 0);
    const open = new Map();
    for (const item of queue.items) if (!hasOpinion(item)) open.set(item.kind, (open.get(item.kind) ?? 0) + 1);
    const kinds = ["", ...Object.keys(queue.kinds).filter((kind) => queue.items.some((item) => item.kind === kind))];
    const had = document.activeElement?.dataset?.kind;
    $("kinds").replaceChildren(...(kinds.length > 2 ? kinds : kinds.slice(0, 1)).map((kind) => {
      const left = kind ? open.get(kind) ?? 0 : [...open.values()].reduce((sum, count) => sum + count, 0);
      const label = kind ? queue.kinds[kind] : kinds.length > 2 ? "everything" : queue.kinds[kinds[1]];
      return el("button", { type: "button", "aria-pressed": String(filter.kind === kind), "data-kind": kind || "all", title: `${left} to do`, onclick: () => { filter.kind = kind; refilter(); } },
        label, el("span", {}, left.toLocaleString()));
    }));
    if (had) $("kinds").querySelector(`[data-kind="${had}"]`)?.focus();
  }

  function drawState() {
    const count = outbox.length;
    $("saved").classList.toggle("waiting", count > 0);
    const own = events.length + settled.length;
    $("saved").textContent = count ? `saving ${count}` : own ? "all saved to disk" : "nothing to save";
    const kept = outbox.every((entry) => entry.kept !== false);
    const waiting = count ? ` ${count === 1 ? "One decision is" : `${count} decisions are`} not saved yet; ${kept ? "this browser keeps them" : "do not close this tab"}.` : "";
    let text = "";
    if (isOver) text = `This address is from an earlier start. Open the one that the server printed last.${waiting}`;
    else if (trouble && count) text = `${trouble}${waiting} It is tried again all the time; if the server was stopped, start it again.`;
    else if (refused.length) text = notTaken();
    if ($("banner").dataset.text !== text) {
      $("banner").dataset.text = text;
      $("banner").replaceChildren(text);
      if (refused.length && text === notTaken()) $("banner").append(" ", el("button", { type: "button", onclick: forgetRefused }, "Forget it"));
    }
    $("banner").hidden = !text;
    document.title = `${queue.name} – review`;
  }

  function say(text) { $("said").textContent = text; }

  // Dialogs ---------------------------------------------------------------------------------------

  let picked = 0;

  function choose() {
    if (!current()) return;
    $("wanted").value = "";
    picked = 0;
    drawMatches();
    $("chooser").showModal();
    $("wanted").focus();
  }

  function matches() {
    const text = $("wanted").value.trim().toLowerCase();
    const found = classes().filter((name) => name.toLowerCase().includes(text));
    const own = $("wanted").value.normalize("NFC").trim();
    if (queue.open && own && !found.includes(own)) found.push(own);
    return found.sort((a, b) => Number(b.toLowerCase().startsWith(text)) - Number(a.toLowerCase().startsWith(text))).slice(0, 100);
  }

  function drawMatches() {
    const found = matches();
    picked = Math.max(0, Math.min(found.length - 1, picked));
    const rows = found.map((name, place) => el("li", {
      role: "option", id: `match-${place}`, "aria-selected": String(place === picked), dir: "auto",
      onclick: () => { $("chooser").close(); take(name); },
    }, classes().includes(name) ? name : `New class: ${name}`));
    $("matches").replaceChildren(...(rows.length ? rows : [el("li", { class: "none" }, queue.open ? "Type the name of a class." : "No class is called that.")]));
    $("wanted").setAttribute("aria-activedescendant", rows.length ? `match-${picked}` : "");
    rows[picked]?.scrollIntoView({ block: "nearest" });
  }

  function onChooserKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) { picked += step; drawMatches(); event.preventDefault(); }
    if (event.key === "Enter" && !event.repeat) {
      const name = matches()[picked];
      event.preventDefault();
      if (name) { $("chooser").close(); take(name); }
    }
  }

  function setReviewer(name) {
    reviewer = name;
    remember(sessionStorage, prefix() + "reviewer", name);
    $("reviewer").textContent = name;
    $("people").close();
    say(`You decide as ${name} now.`);
    refilter(order[at]);
  }

  function openPeople() {
    const names = [...new Set([reviewer, queue.reviewer, ...standing.map((decision) => decision.reviewer)])];
    $("known").replaceChildren(...names.map((name) => el("button", { type: "button", "aria-pressed": String(name === reviewer), onclick: () => setReviewer(name) }, name)));
    $("new-name").value = "";
    $("new-name").setCustomValidity("");
    $("people").showModal();
    $("new-name").focus();
  }

  /* As the server will see it: letters that cannot be printed, such as zero-width joiners, are none. */
  function takeName() {
    const name = $("new-name").value.normalize("NFC").trim();
    const fits = name && [...name].length <= 60 && !/[\p{C}\p{Z}]/u.test(name.replaceAll(" ", ""));
    $("new-name").setCustomValidity(fits ? "" : "A name has 1 to 60 letters that can be printed.");
    if (fits) setReviewer(name); else { $("new-name").focus(); $("new-name").reportValidity(); }
  }

  function openHistory() {
    const names = [...new Set(standing.map((decision) => decision.reviewer))].sort();
    const counted = names.map((name) => {
      const own = standing.filter((decision) => decision.reviewer === name);
      const count = (action) => own.filter((decision) => decision.action === action).length.toLocaleString();
      return el("tr", {}, el("th", { scope: "row" }, name), ...["keep", "change", "skip"].map((action) => el("td", { class: "n" }, count(action))));
    });
    const head = (...cells) => el("thead", {}, el("tr", {}, ...cells.map((text, place) => el("th", { scope: "col", class: place && cells.length === 4 && cells[1] === "kept" ? "n" : "" }, text))));
    $("counts").replaceChildren(names.length ? el("table", {}, head("reviewer", "kept", "changed", "skipped"), el("tbody", {}, ...counted)) : el("p", { class: "soft" }, "Nobody has decided anything yet."));
    const rows = [...standing].reverse().slice(0, MOST_ROWS).map((decision) => {
      const here = places(decision).find((sample) => queue.items.some((item) => item.sample === sample));
      const name = here ? el("button", { type: "button", class: "link", onclick: () => { $("history").close(); show(here); } }, here) : decision.sample;
      return el("tr", {}, el("td", { class: "when" }, when(decision).replace(", ", "")), el("td", {}, decision.reviewer), el("td", {}, words(decision)), el("td", {}, name));
    });
    $("rows").replaceChildren(rows.length ? el("table", {}, head("when", "who", "what", "sample"), el("tbody", {}, ...rows)) : "");
    if (standing.length > MOST_ROWS) $("rows").append(el("p", { class: "soft" }, `and ${standing.length - MOST_ROWS} before`));
    $("history").showModal();
  }

  const HELP = [
    ["K", "keep the given label"],
    ["Enter", "take the suggestion, or what you have chosen"],
    ["1 … 9, 0", "change to the class with that number"],
    ["C", "find a class by its name"],
    ["S", "skip: no opinion"],
    ["U", "take your last decision back"],
    ["← →", "look at others without deciding"],
    ["W", "show what others decided"],
    ["/", "find a sample by its name"],
    ["H", "who decided what"],
    ["R", "who decides"],
    ["?", "this help"],
  ];

  function openHelp() {
    $("keys").replaceChildren(...HELP.flatMap(([keys, what]) => [el("dt", {}, el("kbd", {}, keys)), el("dd", {}, what)]));
    $("about").textContent = `Decisions are kept in ${queue.journal}. The data are never changed.`;
    $("single").checked = singleKeys();
    $("help").showModal();
  }

  // Keys ------------------------------------------------------------------------------------------

  const singleKeys = () => remembered(localStorage, "regraft-review-single-keys") !== "off";

  const ACTS = {
    k: () => decide("keep"), s: () => decide("skip"), u: undo, c: choose, h: openHistory, r: openPeople,
    "?": openHelp, Enter: accept, ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1),
    w: () => { const item = current(); if (item) { revealed.add(item.sample); drawPanel(); } },
    "/": () => { $("find").focus(); $("find").select(); },
  };

  function onKey(event) {
    const target = event.target;
    if (document.querySelector("dialog[open]") || event.altKey || event.metaKey) return;
    if (target.matches("input, select, textarea")) {
      if (event.key === "Escape" || (event.key === "Enter" && target === $("find"))) { target.blur(); $("panel").focus({ preventScroll: true }); event.preventDefault(); }
      return;
    }
    if (event.ctrlKey) {
      if (event.key === "z" && !event.repeat) { undo(); event.preventDefault(); }
      return;
    }
    const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const digit = DIGITS.indexOf(pressed);
    const item = current();
    const name = digit >= 0 && pressed.length === 1 && item ? keyed(item).find(([own]) => own === pressed)?.[1] : undefined;
    const act = name !== undefined ? () => take(name) : ACTS[pressed];
    if (!act || !singleKeys()) return;
    if (pressed === "Enter" && target.closest("button, a")) return;
    const isMove = pressed.startsWith("Arrow");
    event.preventDefault();
    if (!event.repeat || isMove) act();
  }

  // A button that was clicked would take the next Enter; one that was pressed by key keeps the focus.
  function onClick(event) {
    if (event.detail && event.target.closest("button")) $("panel").focus({ preventScroll: true });
  }

  // Beginning -------------------------------------------------------------------------------------

  function wire() {
    document.addEventListener("keydown", onKey);
    document.addEventListener("click", onClick, { capture: true });
    $("show").addEventListener("change", (event) => { filter.show = event.target.value; refilter(); });
    $("class").addEventListener("change", (event) => { filter.label = event.target.value; refilter(); });
    $("find").addEventListener("input", (event) => { filter.text = event.target.value; refilter(); });
    $("who").addEventListener("click", openPeople);
    $("open-history").addEventListener("click", openHistory);
    $("open-help").addEventListener("click", openHelp);
    $("take-name").addEventListener("click", takeName);
    $("leave-name").addEventListener("click", () => $("people").close());
    $("new-name").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); takeName(); } });
    $("wanted").addEventListener("input", () => { picked = 0; drawMatches(); });
    $("wanted").addEventListener("keydown", onChooserKey);
    $("single").addEventListener("change", (event) => remember(localStorage, "regraft-review-single-keys", event.target.checked ? null : "off"));
    for (const close of document.querySelectorAll("dialog .close")) close.addEventListener("click", () => close.closest("dialog").close());
    for (const dialog of document.querySelectorAll("dialog")) {
      dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
      dialog.addEventListener("close", () => $("panel").focus({ preventScroll: true }));
    }
    setInterval(() => { if (!document.hidden && !outbox.length && !isOver) poll(); }, POLL_MS);
    addEventListener("online", send);
    addEventListener("beforeunload", (event) => { if (outbox.some((entry) => entry.kept === false)) event.preventDefault(); });
  }

  async function begin() {
    const reply = await ask("queue");
    if (!reply.ok) {
      $("banner").textContent = reply.error || "The server does not answer.";
      $("banner").hidden = false;
      return;
    }
    queue = reply.value;
    reviewer = remembered(sessionStorage, prefix() + "reviewer") ?? queue.reviewer;
    $("name").textContent = queue.name;
    $("name").title = queue.path;
    $("reviewer").textContent = reviewer;
    $("class").append(...classes().map((name) => el("option", { value: name }, name)));
    wire();
    loadOutbox();
    await poll();
    replay();
    refilter();
    $("panel").focus({ preventScroll: true });
    send();
  }

  begin();
})();
