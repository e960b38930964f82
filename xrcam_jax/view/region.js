// Drawing a region on a picture: a rectangle or a line drawn by hand. Corners are [x, y] from 0 to 1.
xrcam.region = (board, polygons, changed) => {
  // A line has no more corners than are worth sending.
  const MOST = 300;
  const LEAST = 0.01;
  const state = { tool: "", points: [], drawing: false };

  function show(points) {
    state.points = points;
    for (const polygon of polygons) polygon.setAttribute("points", points.map(([x, y]) => `${x},${y}`).join(" "));
  }

  function corner(event) {
    const { left, top, width, height } = board.getBoundingClientRect();
    const within = (value) => Math.min(Math.max(value, 0), 1);
    return [within((event.clientX - left) / width), within((event.clientY - top) / height)];
  }

  const rectangle = ([x0, y0], [x1, y1]) => [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];

  function start(event) {
    if (!state.tool || event.button > 0 || !event.isPrimary) return;
    event.preventDefault();
    // A field that was used before would keep the keys for itself.
    document.activeElement?.blur();
    // Whoever draws beyond the picture's edge has not let go yet.
    board.setPointerCapture(event.pointerId);
    state.drawing = true;
    state.before = state.points;
    state.first = corner(event);
    show([state.first]);
  }

  function move(event) {
    if (!state.drawing) return;
    const here = corner(event);
    show(state.tool === "rectangle" ? rectangle(state.first, here) : [...state.points, here]);
  }

  function end(event) {
    if (!state.drawing) return;
    move(event);
    state.drawing = false;
    const [xs, ys] = [0, 1].map((axis) => state.points.map((point) => point[axis]));
    const extent = (values) => Math.max(...values) - Math.min(...values);
    // A mere click is no region.
    if (event.type === "pointercancel" || Math.min(extent(xs), extent(ys)) < LEAST) show(state.before);
    else set(thinned(state.points));
  }

  const thinned = (points) => points.filter((_, index) => index % Math.ceil(points.length / MOST) === 0);

  function set(points) {
    show(points);
    changed(points);
  }

  board.addEventListener("pointerdown", start);
  board.addEventListener("pointermove", move);
  board.addEventListener("pointerup", end);
  board.addEventListener("pointercancel", end);
  return {
    points: () => (state.drawing ? [] : state.points),
    clear: () => set([]),
    mark: (left, top, right, bottom) => set(rectangle([left, top], [right, bottom])),
    use: (tool) => {
      state.tool = tool;
      board.classList.toggle("drawable", Boolean(tool));
    },
  };
};
