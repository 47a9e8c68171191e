// A terrain to turn (drag, or arrow keys) and to walk on (click): the body of a function of an element `root` and of
// `facts`, which kfcourse/show/terrain.py computes, walks included.
root.replaceChildren(); // the still picture is for a page without scripts
const canvas = document.createElement("canvas");
canvas.width = 760; canvas.height = 460; canvas.tabIndex = 0;
canvas.style.cssText = "max-width:100%;background:#fff;touch-action:none;cursor:grab";
canvas.setAttribute("role", "img");
canvas.setAttribute("aria-label", facts.alt);
const note = document.createElement("div");
note.style.cssText = "font:14px sans-serif;min-height:1.4em";
root.append(canvas, note);
const pen = canvas.getContext("2d"), { x, y, height: z, colors, walks } = facts;
let turn = 0.7, tilt = 0.9, shown = 0, timer = null, walked = null;

// x, y and z in [-1, 1] x [-1, 1] x [0, 1] to the canvas; the third number grows towards the eye
const project = ([a, b, c]) => {
  const u = a * Math.cos(turn) - b * Math.sin(turn), v = a * Math.sin(turn) + b * Math.cos(turn);
  return [380 + 230 * u, 300 + 230 * v * Math.cos(tilt) - 230 * c * Math.sin(tilt), v * Math.sin(tilt) + c * Math.cos(tilt)];
};
const unit = (value, axis) => (2 * (value - axis[0])) / (axis[axis.length - 1] - axis[0]) - 1;
const vertex = (i, j) => project([unit(x[j], x), unit(y[i], y), z[i][j]]);

function draw() {
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const faces = [];
  for (let i = 0; i + 1 < y.length; i++)
    for (let j = 0; j + 1 < x.length; j++) {
      const corners = [vertex(i, j), vertex(i, j + 1), vertex(i + 1, j + 1), vertex(i + 1, j)];
      faces.push({ corners, color: colors[i][j], depth: corners.reduce((s, p) => s + p[2], 0) });
    }
  faces.sort((a, b) => a.depth - b.depth);
  for (const { corners, color } of faces) {
    pen.beginPath();
    corners.forEach((p, k) => (k ? pen.lineTo(p[0], p[1]) : pen.moveTo(p[0], p[1])));
    pen.closePath();
    pen.fillStyle = color; pen.strokeStyle = "rgba(255,255,255,.25)"; pen.fill(); pen.stroke();
  }
  if (!walked) return;
  const path = walked.path.slice(0, shown).map((p) => project([unit(p[0], x), unit(p[1], y), p[2] + 0.015]));
  pen.lineWidth = 3; pen.strokeStyle = "#D55E00"; pen.beginPath();
  path.forEach((p, k) => (k ? pen.lineTo(p[0], p[1]) : pen.moveTo(p[0], p[1])));
  pen.stroke(); pen.lineWidth = 1;
  const [px, py] = path[path.length - 1];
  pen.beginPath(); pen.arc(px, py, 8, 0, 7); pen.fillStyle = "#fff"; pen.fill(); pen.strokeStyle = "#000"; pen.stroke();
}

function walk() {
  clearInterval(timer);
  shown = 1;
  timer = setInterval(() => {
    shown += 1; draw();
    if (shown >= walked.path.length) { clearInterval(timer); note.textContent = walked.said; }
  }, 60);
}

let from = null, moved = false;
canvas.addEventListener("pointerdown", (e) => { from = [e.clientX, e.clientY]; moved = false; canvas.setPointerCapture(e.pointerId); });
canvas.addEventListener("pointermove", (e) => {
  if (!from) return;
  const [dx, dy] = [e.clientX - from[0], e.clientY - from[1]];
  if (!moved && Math.hypot(dx, dy) < 4) return;
  moved = true; from = [e.clientX, e.clientY];
  turn -= dx * 0.01; tilt = Math.min(1.5, Math.max(0.1, tilt - dy * 0.01)); draw();
});
canvas.addEventListener("pointerup", (e) => {
  from = null;
  if (moved) return;
  const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
  const [mx, my] = [(e.clientX - box.left) * scale, (e.clientY - box.top) * scale];
  let best = null;
  for (let i = 0; i < y.length; i++)
    for (let j = 0; j < x.length; j++) {
      const [px, py, depth] = vertex(i, j), far = Math.hypot(px - mx, py - my);
      if (far < 14 && (!best || depth > best.depth)) best = { depth, at: [x[j], y[i]] };  // what is in front is what was clicked
    }
  if (!best) return;
  const far = (one) => Math.hypot(unit(one.path[0][0], x) - unit(best.at[0], x), unit(one.path[0][1], y) - unit(best.at[1], y));
  walked = walks.reduce((near, one) => (far(one) < far(near) ? one : near));
  note.textContent = "walking ..."; walk();
});
canvas.addEventListener("keydown", (e) => {
  const steps = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[e.key];
  if (!steps) return;
  e.preventDefault(); turn += steps[0]; tilt = Math.min(1.5, Math.max(0.1, tilt + steps[1])); draw();
});
note.textContent = "Drag to turn, click to let go of a ball.";
draw();
