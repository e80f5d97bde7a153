// The page's side of the chat. What the model says gets into the page as text, never as markup.
"use strict";

const element = (id) => document.getElementById(id);
const [log, form, question, send, stop, status, scroller] = [
  "log", "form", "question", "send", "stop", "status", "scroller",
].map(element);
const UNREACHABLE = "This site cannot be reached. Look at your connection, then try again.";
const NEAR = 60; // pixels from the end in which one counts as reading along

// Why an answer ended that nobody stopped and that did not fail, where there is something to say.
const NOTES = {
  length: "The answer has reached the greatest length that the model is allowed.",
  content_filter: "The rest was held back by the content filter of the model's server.",
};

let running = null; // the turn whose answer is being written
let asked = null; // settled when the site has taken the question

// The button, while it does its work. One that is really disabled would lose the focus.
const stopping = (yes) => stop.setAttribute("aria-disabled", String(yes));
const isStopping = () => stop.getAttribute("aria-disabled") === "true";

// To those who listen to the page; what is wrong, to everybody.
function tell(words, wrong = false) {
  status.textContent = words;
  status.classList.toggle("unseen", !wrong);
}

async function post(where, what) {
  let response;
  try {
    response = await fetch(where, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(what),
    });
  } catch {
    throw new Error(UNREACHABLE);
  }
  const reply = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(reply.error || UNREACHABLE);
  return reply;
}

// Whoever reads along stays at the end; whoever has scrolled back is left in peace.
function keepingPlace(change) {
  const along = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR;
  change();
  if (along) scroller.scrollTop = scroller.scrollHeight;
}

function show(turn, state, note = "") {
  running = state === "running" ? turn : null;
  keepingPlace(() => {
    turn.dataset.state = state;
    turn.querySelector(".words").textContent = note;
    turn.querySelector(".answer").setAttribute("aria-busy", String(state === "running"));
  });
  tell(state === "running" ? "The answer is being written." : note || "The answer is there.");
  const focused = document.activeElement;
  send.hidden = running !== null;
  stop.hidden = running === null;
  stopping(false);
  // Where the button that had the focus is hidden, the keyboard would be lost.
  if (focused === send || focused === stop) question.focus();
}

// Write the answer into the page as it comes, from its first word.
function follow(turn) {
  const text = document.createTextNode("");
  turn.querySelector(".answer").replaceChildren(text);
  show(turn, "running");
  const source = new EventSource(`answers/${turn.dataset.number}`);
  let reason = null;
  source.onopen = () => tell("The answer is being written.");
  source.onmessage = ({ data }) => {
    const [choice] = JSON.parse(data).choices;
    reason = choice?.finish_reason ?? reason;
    if (choice?.delta.content) keepingPlace(() => text.appendData(choice.delta.content));
  };
  source.addEventListener("restarted", () => (text.data = ""));
  source.addEventListener("done", ({ data }) => {
    source.close();
    if (JSON.parse(data).closed) show(turn, "stopped", "Stopped.");
    else show(turn, "done", NOTES[reason]);
  });
  source.addEventListener("failed", ({ data }) => {
    source.close();
    show(turn, "failed", JSON.parse(data).text);
  });
  // The browser connects again by itself, and says what it had last.
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) show(turn, "failed", UNREACHABLE);
    else tell("The connection is lost. Connecting again.", true);
  };
}

async function ask(words) {
  if (running || !words.trim()) return;
  const turn = element("turn").content.firstElementChild.cloneNode(true);
  turn.querySelector(".question").textContent = words.trim();
  log.append(turn);
  scroller.scrollTop = scroller.scrollHeight;
  show(turn, "running");
  asked = post("ask", { question: words });
  try {
    const { known, number } = await asked;
    turn.dataset.number = number;
    if (!known && log.childElementCount > 1) {
      const parting = document.createElement("p");
      parting.className = "parting";
      parting.textContent = "You were away for long: the model no longer knows what is above.";
      turn.before(parting);
    }
  } catch (error) {
    show(turn, "failed", error.message);
    return;
  }
  follow(turn);
}

async function stopAnswer() {
  if (!running || isStopping()) return;
  stopping(true);
  tell("Stopping.");
  try {
    await asked; // or there is nothing to stop yet
    await post("stop", {}); // the end comes as any other end does
  } catch (error) {
    stopping(false);
    tell(error.message, true);
  }
}

function fit() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) return;
  ask(question.value);
  question.value = "";
  fit();
});
question.addEventListener("input", fit);
question.addEventListener("keydown", (event) => {
  // While an input method composes a word, Enter belongs to it.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
stop.addEventListener("click", stopAnswer);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stopAnswer();
});
document.addEventListener("click", ({ target }) => {
  if (target.matches(".suggestion")) ask(target.textContent);
  if (target.matches(".again")) ask(target.closest(".turn").querySelector(".question").textContent);
  if (target.matches(".suggestion, .again")) question.focus();
});
element("new").addEventListener("click", async () => {
  try {
    await post("new", {});
    location.reload();
  } catch (error) {
    tell(error.message, true);
  }
});

const unfinished = log.querySelector('.turn[data-state="running"]');
if (unfinished) follow(unfinished);
scroller.scrollTop = scroller.scrollHeight;
