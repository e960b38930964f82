// Marks: polygons in the pixels of the picture, x to the right and y down from its upper left corner. They are drawn by
// finger or mouse, or corner by corner with keys, on any of the pictures, and are shown on all of them.
const marking = ((size, added, say) => {
  const [height, width] = size;
  const NAMESPACE = "http://www.w3.org/2000/svg";
  // So far apart are the corners of what a finger draws, and so far a key moves the cross.
  const STEP = Math.max(height, width) / 200;
  const STRIDE = Math.max(height, width) / 40;
  const layers = [...document.querySelectorAll("svg[data-marks]")];
  // `path` is the mark that is being drawn, `cross` where keys have got to.
  const state = { on: false, marks: [], path: [], cross: null, pointer: null };

  const rounded = (value) => Math.round(10 * value) / 10;
  const clamped = ([x, y]) => [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)].map(rounded);

  function drawn(tag, attributes) {
    const element = document.createElementNS(NAMESPACE, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  function shapes() {
    const found = state.marks.map((mark) => drawn("polygon", { points: mark.join(" ") }));
    if (state.path.length) found.push(drawn("polyline", { points: state.path.join(" "), class: "open" }));
    if (state.on && state.cross) {
      const [x, y] = state.cross;
      const [dx, dy] = [2 * STRIDE, 2 * STRIDE];
      found.push(drawn("path", { d: `M${x - dx} ${y}H${x + dx}M${x} ${y - dy}V${y + dy}`, class: "cross" }));
    }
    return found;
  }

  function render() {
    for (const layer of layers) layer.replaceChildren(...shapes());
  }

  function show(marks) {
    Object.assign(state, { marks, path: [], pointer: null });
    render();
  }

  function turn(on) {
    Object.assign(state, { on, path: [], cross: null, pointer: null });
    render();
  }

  // Twice the area within the path.
  function area(path) {
    return Math.abs(
      path.reduce((sum, [x, y], index) => {
        const [nextX, nextY] = path[(index + 1) % path.length];
        return sum + x * nextY - nextX * y;
      }, 0),
    );
  }

  function close() {
    const path = state.path;
    state.path = [];
    if (path.length > 2 && area(path) > 0) added(path);
    else {
      render();
      say("A mark needs three corners.");
    }
  }

  // ---- By finger or mouse ----

  function place(layer, event) {
    const box = layer.getBoundingClientRect();
    return clamped([((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height]);
  }

  function down(layer, event) {
    if (!state.on || state.pointer !== null || event.button !== 0) return;
    event.preventDefault();
    layer.setPointerCapture(event.pointerId);
    Object.assign(state, { pointer: event.pointerId, path: [place(layer, event)], cross: null });
    render();
  }

  function move(layer, event) {
    if (event.pointerId !== state.pointer) return;
    const next = place(layer, event);
    const [x, y] = state.path.at(-1);
    if (Math.hypot(next[0] - x, next[1] - y) < STEP) return;
    state.path.push(next);
    render();
  }

  function up(event) {
    if (event.pointerId !== state.pointer) return;
    state.pointer = null;
    close();
  }

  function cancel(event) {
    if (event.pointerId === state.pointer) show(state.marks);
  }

  for (const layer of layers) {
    layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
    layer.setAttribute("preserveAspectRatio", "none");
    layer.addEventListener("pointerdown", (event) => down(layer, event));
    layer.addEventListener("pointermove", (event) => move(layer, event));
    layer.addEventListener("pointerup", up);
    layer.addEventListener("pointercancel", cancel);
  }

  // ---- By keys ----

  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  // Says whether the key was one of these.
  function key(event) {
    if (!state.on || state.pointer !== null) return false;
    if (MOVES[event.key]) {
      const [x, y] = state.cross ?? [width / 2, height / 2];
      const [dx, dy] = MOVES[event.key].map((way) => way * (event.shiftKey ? 1 : STRIDE));
      state.cross = clamped([x + dx, y + dy]);
      render();
      say(`Cross at ${state.cross.join(", ")}.`);
    } else if (event.key === " " && state.cross) {
      state.path.push(state.cross);
      render();
      say(`Corner ${state.path.length}.`);
    } else if (event.key === "Enter" && state.path.length) close();
    else return false;
    return true;
  }

  // Takes the last corner away, if one is set.
  function undo() {
    if (!state.path.length || state.pointer !== null) return false;
    state.path.pop();
    render();
    return true;
  }

  return { show, turn, key, undo, isOn: () => state.on };
});
