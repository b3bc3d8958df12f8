// Keeps a page as it is now. Events of the daemon say that something changed; then the page is asked for once more, and
// what differs is changed in place: focus, selection, scroll, open parts and what is being written stay as they are.

const root = document.body.dataset.root;
const live = document.getElementById("live");
const SOON = 60; // ms after an event: others often follow it at once
const LEAST = 1000; // ms between two requests
const FAILED = 5000; // ms until another request, where the last one failed
const AGAIN = 30000; // ms until another attempt, where the daemon takes no more readers
const KINDS = ["added", "removed", "presented", "raised", "changed", "cleared", "failed", "recovered", "ended", "decided",
  "acting", "reset"];

let source = null;
let timer = null;
let asking = false;
let again = false;
let next = 0;

function say(text) {
  if (live.textContent !== text) live.textContent = text;
}

function listen() {
  if (source || document.hidden) return;
  source = new EventSource(`${root}api/v1/events`);
  source.addEventListener("open", () => say("Live."));
  source.addEventListener("error", () => {
    say("Not live: the daemon does not answer.");
    if (source && source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(() => { listen(); plan(); }, AGAIN);
    }
  });
  for (const kind of KINDS) source.addEventListener(kind, plan);
}

function plan() {
  if (asking) { again = true; return; }
  if (timer === null) timer = setTimeout(refresh, Math.max(SOON, next - performance.now()));
}

async function refresh() {
  timer = null;
  asking = true;
  const begun = performance.now();
  let why = "";
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
    if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    else why = `the daemon answers ${answer.status}`;
  } catch {
    why = "the daemon does not answer";
  }
  // A page that is costly is asked for less often.
  next = performance.now() + Math.max(LEAST, 10 * (performance.now() - begun));
  asking = false;
  if (why) {
    say(`Not live: ${why}.`);
    next = performance.now() + FAILED;
    again = !document.hidden;
  } else if (live.textContent.startsWith("Not live") && source && source.readyState === EventSource.OPEN) {
    say("Live.");
  }
  if (again) { again = false; plan(); }
}

function take(page) {
  for (const name of ["main", "footer"]) {
    const [now, then] = [document.querySelector(name), page.querySelector(name)];
    if (now && then) children(now, then);
  }
  if (document.title !== page.title) {
    document.title = page.title;
    say(page.title);
  }
}

function key(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "";
}

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && key(one) === key(other);
}

function children(now, then) {
  const known = new Map();
  for (const each of now.childNodes) if (key(each)) known.set(key(each), each);
  let at = now.firstChild;
  for (const wanted of then.childNodes) {
    const same = key(wanted) && known.get(key(wanted));
    if (same && same !== at && same.parentNode === now) {
      // It stays where it is while something in it has the focus: to move it would take that away.
      if (same.contains(document.activeElement)) while (at && at !== same) at = dropped(at);
      else now.insertBefore(same, at);
      if (at !== same) { node(same, wanted); continue; }
    }
    if (at && alike(at, wanted)) {
      const following = at.nextSibling;
      node(at, wanted);
      at = following;
    } else {
      now.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) at = dropped(at);
}

function dropped(old) {
  const following = old.nextSibling;
  old.remove();
  return following;
}

function node(now, then) {
  if (now.nodeType === Node.TEXT_NODE) {
    if (now.data !== then.data && !isSelected(now)) now.data = then.data;
    return;
  }
  // What somebody fills in is theirs, and what this module says is its own.
  if (now.nodeType !== Node.ELEMENT_NODE || now.localName === "form" || now === live || now.isEqualNode(then)) return;
  for (const { name, value } of then.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  for (const { name } of [...now.attributes]) {
    if (!then.hasAttribute(name) && !(name === "open" && now.localName === "details")) now.removeAttribute(name);
  }
  children(now, then);
}

function isSelected(text) {
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && selection.containsNode(text, true);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    if (source) source.close();
    source = null;
  } else {
    listen();
    plan();
  }
});
listen();
