// A quiz is answered in its page: a click on an option says whether it is right and opens the explanation. What was
// chosen stays in this browser (localStorage) and goes nowhere. Without scripts, the list and its answer are as before.
document.addEventListener("DOMContentLoaded", () => {
  const kept = (key, value) => {
    try {
      if (value === undefined) return localStorage.getItem(key);
      localStorage.setItem(key, value);
    } catch { return null; } // a browser that keeps nothing
  };
  document.querySelectorAll("section#quiz ul").forEach((list, number) => {
    const options = [...list.children], letters = options.map((one) => (one.textContent.trim().match(/^\(([a-z])\)/) || [])[1]);
    let answer = list.nextElementSibling;
    while (answer && answer.tagName !== "DETAILS" && !answer.querySelector("details")) answer = answer.nextElementSibling;
    if (!answer || letters.some((letter) => !letter)) return;
    const details = answer.tagName === "DETAILS" ? answer : answer.querySelector("details");
    const said = details.textContent.replace(/^\s*Answer\s*/, ""), right = (said.match(/\(([a-z])\)/) || [])[1];
    const key = `kfac-quiz ${location.pathname} ${number}`;
    const choose = (letter) => {
      options.forEach((one, i) => {
        one.classList.toggle("quiz-right", letters[i] === letter && letter === right);
        one.classList.toggle("quiz-wrong", letters[i] === letter && letter !== right);
        one.setAttribute("aria-pressed", letters[i] === letter);
      });
      details.open = true;
    };
    list.classList.add("quiz");
    options.forEach((one, i) => {
      one.tabIndex = 0;
      one.setAttribute("role", "button");
      const take = () => { kept(key, letters[i]); choose(letters[i]); };
      one.addEventListener("click", take);
      one.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); take(); } });
    });
    if (kept(key)) choose(kept(key));
  });
});
