const input = root.querySelector("input"), shown = root.querySelector("output");
const frames = [...root.querySelectorAll(".kfac-frame")];
input.addEventListener("input", () => {
  frames.forEach((frame, i) => { frame.hidden = i !== Number(input.value); });
  const value = frames[input.value].dataset.value;
  shown.textContent = value;
  input.setAttribute("aria-valuetext", value);
});
