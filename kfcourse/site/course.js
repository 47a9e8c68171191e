// What a page does for its reader. A quiz and a prediction are answered in the page; what was chosen stays in this
// browser (localStorage) and goes nowhere. Without scripts a quiz is a list above its answer, and views stand still.
const kept = (key, value) => {
  try {
    if (value === undefined) return localStorage.getItem(key);
    localStorage.setItem(key, value);
  } catch { return null; } // a browser that keeps nothing
};

// --- quizzes: every option is a button that says whether it is right and opens the explanation

function quizzes() {
  document.querySelectorAll("section#quiz ul").forEach((list, number) => {
    const items = [...list.children], letters = items.map((one) => (one.textContent.trim().match(/^\(([a-z])\)/) || [])[1]);
    let answer = list.nextElementSibling;
    while (answer && answer.tagName !== "DETAILS" && !answer.querySelector("details")) answer = answer.nextElementSibling;
    if (!answer || letters.some((letter) => !letter)) return;
    const details = answer.tagName === "DETAILS" ? answer : answer.querySelector("details");
    const said = details.textContent.replace(/^\s*Answer\s*/, ""), right = (said.match(/\(([a-z])\)/) || [])[1];
    const key = `kfac-quiz ${location.pathname} ${number}`;
    const options = items.map((item) => {
      const button = document.createElement("button"), paragraph = item.querySelector(":scope > p");
      button.type = "button";
      button.append(...(paragraph || item).childNodes);
      item.replaceChildren(button);
      return button;
    });
    const choose = (letter) => {
      options.forEach((one, i) => {
        one.classList.toggle("quiz-right", letters[i] === letter && letter === right);
        one.classList.toggle("quiz-wrong", letters[i] === letter && letter !== right);
        one.setAttribute("aria-pressed", letters[i] === letter);
      });
      details.open = true;
    };
    list.classList.add("quiz");
    options.forEach((one, i) => one.addEventListener("click", () => { kept(key, letters[i]); choose(letters[i]); }));
    if (kept(key)) choose(kept(key));
  });
}

// --- predictions: the forms of kfcourse/site/predictions.py; the words are those of kfcourse/learning/predictions.py

function verdict(guess, value) {
  if (Number.isNaN(Number(guess)) || Number.isNaN(Number(value)))
    return guess === value ? `You said ${guess}, and you were right:` : `You said ${guess};`;
  const [a, b] = [Number(guess), Number(value)];
  if (a * b <= 0) return `You said ${guess};`;
  const times = Math.max(a / b, b / a);
  return `You said ${guess}, ` + (times < 1.1 ? "within a tenth of it:" : `off by a factor of ${Number(times.toPrecision(2))};`);
}

function predictions() {
  document.querySelectorAll("form.prediction").forEach((form) => {
    const name = form.dataset.prediction, key = `kfac-prediction ${name}`, number = form.querySelector("[type=number]");
    const answers = document.querySelectorAll(`[data-measured="${CSS.escape(name)}"]`);
    const take = (guess) => {
      form.querySelector(".kept").textContent = `Your prediction, ${guess}, is kept in this browser. The end of the chapter comes back to it.`;
      answers.forEach((answer) => { answer.querySelector(".guessed").textContent = verdict(guess, answer.dataset.value); });
    };
    const keep = (guess) => { if (guess !== "") { kept(key, guess); take(guess); } };
    form.addEventListener("submit", (e) => { e.preventDefault(); if (number) keep(number.value); });
    form.addEventListener("change", (e) => { if (e.target.type === "radio") keep(e.target.value); });
    const before = kept(key);
    if (before === null) return;
    take(before);
    if (number) number.value = before;
    form.querySelectorAll("[type=radio]").forEach((one) => { one.checked = one.value === before; });
  });
}

// --- what is wider than the page: tables that cells print keep their columns, and all that scrolls has the keyboard's focus

function wide() {
  document.querySelectorAll("div.cell_output pre").forEach((pre) => {
    const rows = pre.textContent.split("\n").filter((line) => /\S {2,}\S/.test(line));
    pre.classList.toggle("columns", rows.length > 1);
  });
  document.querySelectorAll("main :not(.formula) > math").forEach((one) => {
    one.classList.remove("wide");
    one.classList.toggle("wide", one.getBoundingClientRect().width > one.closest("p, li, td, dd, div").clientWidth);
  });
  document.querySelectorAll(".formula, math.wide, main pre, .pst-scrollable-table-container").forEach((one) => {
    if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
    else one.removeAttribute("tabindex");
  });
}

// --- on a phone, a tap on a figure shows it in its own size

function figures() {
  if (!matchMedia("(max-width: 600px)").matches) return;
  document.querySelectorAll("main div.cell_output img, main p > img").forEach((image) => {
    if (image.closest("a, [id^=kfac-]")) return;
    const link = document.createElement("a");
    link.href = image.src;
    image.replaceWith(link);
    link.append(image);
  });
}

// --- paper is light

function paper() {
  const root = document.documentElement;
  let theme = null;
  addEventListener("beforeprint", () => { theme = root.dataset.theme; root.dataset.theme = "light"; });
  addEventListener("afterprint", () => { root.dataset.theme = theme; });
}

document.addEventListener("DOMContentLoaded", () => {
  quizzes();
  predictions();
  figures();
  paper();
  wide();
  addEventListener("resize", wide);
  const bar = document.querySelector(".bd-sidebar-primary");
  if (bar) { bar.setAttribute("role", "navigation"); bar.setAttribute("aria-label", "Site"); }
});
