"use strict";
(() => {
  const rows = [...document.querySelectorAll("#list tbody tr")];
  for (const button of document.querySelectorAll("#list th button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th"), column = head.cellIndex, down = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => column === 0 ? Number(row.dataset.o) : column === 1 ? Number(row.dataset.l) : row.cells[column].textContent;
      rows.sort((a, b) => { const [one, two] = [key(a), key(b)]; return (one < two ? -1 : one > two ? 1 : 0) * (down ? -1 : 1); });
      document.querySelector("#list tbody").append(...rows);
    });
  }
  const holder = document.getElementById("data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const maps = [...document.querySelectorAll(".map svg[role]")], strip = document.getElementById("partitions"), where = document.getElementById("where");
  const shapes = data.shapes, width = 1000;
  let from = 0, length = data.size;
  const hex = (n) => "0x" + BigInt(Math.round(n)).toString(16);
  const size = (n) => { const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]; let unit = 0; while (n >= 1024 && unit < 5) { n /= 1024; unit += 1; } return (n >= 10 || unit === 0 ? Math.round(n) : n.toFixed(1)) + " " + units[unit]; };
  const mark = (name, attributes) => { const it = document.createElementNS("http://www.w3.org/2000/svg", name); for (const key in attributes) it.setAttribute(key, attributes[key]); return it; };
  const draw = () => {
    for (const old of document.querySelectorAll(".map .part")) old.remove();
    if (strip) strip.setAttribute("viewBox", `${from / data.size * width} 0 ${length / data.size * width} 14`);
    data.rows.forEach((row, index) => {
      for (let at = 0; at < row.length;) {
        let end = at + 1;
        while (end < row.length && row[end] === row[at]) end += 1;
        const shape = shapes[row[at]];
        const x = (at * data.part - from) / length * width, right = (end * data.part - from) / length * width;
        if (shape && right > 0 && x < width) {
          const left = Math.max(0, x);
          maps[index].append(mark("rect", { class: "part " + shape[0], x: left, width: Math.max(1.5, Math.min(width, right) - left), y: shape[1], height: shape[2] }));
        }
        at = end;
      }
    });
    let inside = 0;
    for (const row of rows) {
      const offset = Number(row.dataset.o), there = offset < from + length && offset + Number(row.dataset.l) > from;
      row.hidden = !there;
      inside += there ? 1 : 0;
    }
    where.textContent = `${hex(from)} to ${hex(from + length)} (${size(length)}), ${inside} of the listed places`;
  };
  const look = (middle, wanted) => {
    length = Math.max(Math.min(data.size, 65536), Math.min(data.size, wanted));
    from = Math.max(0, Math.min(data.size - length, middle - length / 2));
    draw();
  };
  const middle = () => from + length / 2;
  const on = (id, action) => document.getElementById(id).addEventListener("click", action);
  on("in", () => look(middle(), length / 4));
  on("out", () => look(middle(), length * 4));
  on("left", () => look(middle() - length / 2, length));
  on("right", () => look(middle() + length / 2, length));
  on("all", () => look(0, data.size));
  for (const map of maps) map.addEventListener("click", (event) => { const box = map.getBoundingClientRect(); look(from + (event.clientX - box.left) / box.width * length, length / 8); });
  for (const it of document.querySelectorAll(".script")) it.hidden = false;
  draw();
})();
