// What the reader does with the frames, and what is shown then. maps.js comes before it in the same script.
(() => {
  const REGION = [0, 214, 190];
  const OUTLINE = [255, 214, 0];
  const AGGREGATE = "aggregate";

  const at = (id) => document.getElementById(id);
  const parsed = (id) => JSON.parse(at(id).textContent);
  const shared = parsed("viewer-shared");
  const [colours, variationColours] = [shared.colours, shared.variationColours].map(xrcam.bytes);
  const inOrder = new Intl.Collator("en", { numeric: true }).compare;

  // `found` are the frames that the filters let through, in order; `shown` is the one whose picture is there.
  const state = { content: null, found: [], place: 0, turn: 0, shown: null, picture: null, border: null, tiles: [] };

  const methodName = (name) => shared.methodNames[name] ?? name;
  // How layers are put together; pages of before have the mean and do not say so.
  const how = () => state.content.aggregate ?? "mean";
  const together = () => (how() === "mean" ? "Layers together" : `Layers together (${how()})`);
  const layerName = (name) => (name === AGGREGATE ? together() : name.replace(/^layer(\d+)$/, "Layer $1"));
  const current = () => state.found[state.place];
  const MODES = ["overlay", "mask", "variation"];
  const mode = () => MODES.find((name) => at(`mode-${name}`).checked);
  const ticked = (id) => [...at(id).querySelectorAll("input:checked")].map((box) => box.value);
  const shownScore = (score) => `${(100 * score).toFixed(1)} %`;

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  const options = (pairs) => pairs.map(([value, text]) => element("option", { value, textContent: text }));

  function ticks(names, shownAs, isTicked) {
    return names.map((name) => {
      const box = element("input", { type: "checkbox", value: name, checked: isTicked(name) });
      return element("label", { className: "tick" }, box, " ", element("span", { textContent: shownAs(name) }));
    });
  }

  // ---- Which frames, in which order ----

  function choose(id) {
    const content = parsed(id);
    const { classes, methods, layers, frames } = content;
    Object.assign(state, { content, found: [], place: 0, shown: null });
    const patients = [...new Set(frames.map((frame) => frame.patient))].sort(inOrder);
    at("class").replaceChildren(...options([["", "All classes"], ...classes.map((name, index) => [index, name])]));
    at("patient").replaceChildren(...options([["", "All patients"], ...patients.map((name) => [`=${name}`, name])]));
    const byWeight = [...new Set([...shared.firstMethods, ...methods])].filter((name) => methods.includes(name));
    const atFirst = byWeight.slice(0, shared.firstMethods.length);
    at("methods").replaceChildren(...ticks(methods, methodName, (name) => atFirst.includes(name)));
    at("layers").replaceChildren(...ticks(layers, layerName, () => true));
    at("sort-method").replaceChildren(...options(methods.map((name) => [name, methodName(name)])));
    at("sort-layer").replaceChildren(...options([AGGREGATE, ...layers].map((name) => [name, layerName(name)])));
    const measured = frames.some((frame) => frame.iou);
    for (const option of at("sort").options) option.disabled = option.value.startsWith("iou") && !measured;
    state.modes = MODES.filter((name) => name !== "variation" || frames.some((frame) => frame.variation));
    at("choose-variation").hidden = !state.modes.includes("variation");
    if (!state.modes.includes(mode())) at("mode-overlay").checked = true;
    reset();
  }

  function reset() {
    for (const id of ["search", "class", "patient", "outcome", "annotated"]) at(id).value = "";
    at("sort").value = "name";
    find();
  }

  function fits(frame) {
    const [name, label, patient] = [at("search").value.trim().toLowerCase(), at("class").value, at("patient").value];
    const [outcome, annotated] = [at("outcome").value, at("annotated").value];
    return (
      frame.name.toLowerCase().includes(name) &&
      (label === "" || frame.label === Number(label)) &&
      (patient === "" || patient === `=${frame.patient}`) &&
      (outcome === "" || (outcome === "right") === (frame.predicted === frame.label)) &&
      (annotated === "" || (annotated === "yes") === (frame.annotation != null))
    );
  }

  function sorted(frames) {
    const [by, direction] = at("sort").value.split("-");
    const [method, layer] = [at("sort-method").value, at("sort-layer").value];
    const values = { score: (frame) => frame.scores[frame.label], iou: (frame) => frame.iou?.[method]?.[layer] };
    const known = (frame) => Number.isFinite(values[by]?.(frame));
    return [...frames].sort((one, other) => {
      const byName = inOrder(one.name, other.name);
      if (by === "name") return byName;
      // Frames without a figure come last in either direction.
      if (!known(one) || !known(other)) return known(other) - known(one) || byName;
      const difference = values[by](one) - values[by](other);
      return (direction === "low" ? difference : -difference) || byName;
    });
  }

  // Keeps the frame that is shown, if it is still among those found.
  function find() {
    at("sort-by-overlap").hidden = !at("sort").value.startsWith("iou");
    const before = current();
    state.found = sorted(state.content.frames.filter(fits));
    state.place = Math.max(0, state.found.indexOf(before));
    show();
  }

  function go(place) {
    const last = state.found.length - 1;
    const wanted = Math.min(Math.max(place, 0), last);
    if (last < 0 || wanted === state.place) return;
    state.place = wanted;
    show();
  }

  // ---- One frame ----

  // Decodes a PNG picture and returns the brightness of each pixel.
  async function brightness(base64, [height, width]) {
    const image = new Image();
    image.src = `data:image/png;base64,${base64}`;
    await image.decode();
    const canvas = element("canvas", { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, width, height).data;
    const grey = new Uint8Array(height * width);
    for (let index = 0; index < grey.length; index += 1) grey[index] = pixels[4 * index];
    return grey;
  }

  async function show() {
    const turn = (state.turn += 1);
    const [frame, { size, frames }] = [current(), state.content];
    at("shown").hidden = !frame;
    at("trouble").hidden = Boolean(frame);
    at("previous").setAttribute("aria-disabled", String(state.place <= 0));
    at("next").setAttribute("aria-disabled", String(state.place >= state.found.length - 1));
    if (!frame) {
      state.shown = null;
      at("count").textContent = `0 of ${frames.length}`;
      at("name").textContent = at("spoken").textContent = "";
      at("trouble").textContent = "No frame is like that. “Show all frames” starts afresh.";
      return;
    }
    const picture = await brightness(frame.picture, size);
    const annotation = frame.annotation == null ? null : await brightness(frame.annotation, size);
    // A reader who pages fast has already asked for another frame.
    if (turn !== state.turn) return;
    const mask = annotation?.map((value) => (value > 127 ? 1 : 0));
    Object.assign(state, { shown: frame, picture, border: mask ? xrcam.border(mask, ...size) : null });
    describe(frame);
    layOut(frame);
  }

  function describe(frame) {
    const { classes, frames } = state.content;
    const right = frame.predicted === frame.label;
    const all = state.found.length === frames.length ? "" : ` (${frames.length} in all)`;
    at("count").textContent = `${state.place + 1} of ${state.found.length}${all}`;
    at("name").textContent = frame.name;
    const decision = `${classes[frame.predicted]}, ${right ? "right" : "wrong"}`;
    at("spoken").textContent = `patient ${frame.patient}, class ${classes[frame.label]}, network says ${decision}`;
    const facts = [
      ["Data", shared.experiments.find((one) => one.element === at("experiment").value).data],
      ["Patient", frame.patient],
      ["Class", classes[frame.label]],
      ["Network says", element("span", { className: right ? "right" : "wrong" }, `${right ? "✓" : "✗"} ${decision}`)],
    ];
    at("facts").replaceChildren(
      ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
    );
    at("scores").replaceChildren(
      ...classes.map((name, index) => {
        const bar = element("i", { className: "bar" });
        bar.style.setProperty("--share", `${100 * Math.min(Math.max(frame.scores[index], 0), 1)}%`);
        const value = element("dd", {}, shownScore(frame.scores[index]), bar);
        return element("div", {}, element("dt", {}, `Score ${name}`), value);
      }),
    );
  }

  // Works out the maps that are ticked and makes a canvas for each.
  function layOut(frame) {
    const { size } = state.content;
    const [methods, chosen, asOne] = [ticked("methods"), ticked("layers"), at("together").checked];
    state.tiles = [];
    const sections = methods.map((method) => {
      const grown = new Map();
      for (const layer of chosen) {
        const map = frame.maps[method]?.[layer];
        if (map) grown.set(layer, xrcam.upsampled(map, size));
      }
      const maps = [...grown].map(([layer, values]) => [layer, xrcam.minMax(values)]);
      if (asOne && grown.size) {
        const strides = [...grown.keys()].map((layer) => xrcam.stride(frame.maps[method][layer], size));
        maps.push([AGGREGATE, xrcam.fused([...grown.values()], how(), strides)]);
      }
      const tiles = maps.map(([layer, values]) => {
        // What is measured together is all layers that the method has, not some.
        const measured = layer !== AGGREGATE || grown.size === Object.keys(frame.maps[method]).length;
        const [iou, variation] = [frame.iou, frame.variation].map((all) => (measured ? all?.[method]?.[layer] : null));
        return tile(method, layer, values, iou, variation && xrcam.upsampled(variation, size));
      });
      const nothing = element("p", { className: "note" }, "No map at these layers.");
      const grid = tiles.length ? element("div", { className: "tiles" }, ...tiles) : nothing;
      return element("section", {}, element("h3", {}, methodName(method)), grid);
    });
    const hint = element("p", { className: "note" }, "Tick a method to see its maps.");
    at("maps").replaceChildren(...(sections.length ? sections : [hint]));
    paint();
  }

  function tile(method, layer, values, iou, variation) {
    const canvas = element("canvas", { className: "map" });
    canvas.setAttribute("role", "img");
    const region = xrcam.salient(values);
    state.tiles.push({
      canvas,
      alt: `${methodName(method)}, ${layerName(layer)}`,
      levels: xrcam.levels(values),
      region,
      rim: variation ? xrcam.border(region, ...state.content.size) : [],
      variation: variation ? xrcam.levels(variation) : null,
    });
    const caption = element("figcaption", {}, element("span", {}, layerName(layer)));
    if (Number.isFinite(iou)) caption.append(" ", element("span", { className: "iou" }, `overlap ${iou.toFixed(2)}`));
    return element("figure", {}, canvas, caption);
  }

  // ---- Pixels ----

  // Draws the frame, colours on it, and an outline on these. `entries` are places in the palette, pixel by pixel;
  // `covers` says how much of the frame each place of the palette covers.
  function draw(canvas, alt, { palette, covers, entries }, outline, rim = []) {
    const [height, width] = state.content.size;
    const image = new ImageData(width, height);
    const [pixels, picture] = [image.data, state.picture];
    const laid = Float64Array.from(palette, (colour, index) => colour * covers[Math.floor(index / 3)]);
    for (let index = 0; index < picture.length; index += 1) {
      const entry = entries[index];
      const grey = picture[index] * (1 - covers[entry]);
      pixels[4 * index] = grey + laid[3 * entry];
      pixels[4 * index + 1] = grey + laid[3 * entry + 1];
      pixels[4 * index + 2] = grey + laid[3 * entry + 2];
      pixels[4 * index + 3] = 255;
    }
    for (const index of rim) pixels.set(REGION, 4 * index);
    for (const index of outline ?? []) pixels.set(OUTLINE, 4 * index);
    Object.assign(canvas, { width, height });
    canvas.setAttribute("aria-label", alt);
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  function paint() {
    const [opacity, shownAs, name] = [at("opacity").value / 100, mode(), state.shown.name];
    at("opacity-shown").textContent = `${at("opacity").value} %`;
    for (const each of MODES) at(`legend-${each}`).hidden = each !== shownAs;
    at("legend-outline").hidden = !state.border;
    const bare = { palette: [0, 0, 0], covers: [0], entries: new Uint8Array(state.picture.length) };
    const outlined = state.border ? "with annotation" : "without annotation";
    at("outlined-caption").textContent = outlined[0].toUpperCase() + outlined.slice(1);
    draw(at("original"), `Frame ${name}`, bare);
    draw(at("outlined"), `Frame ${name}, ${outlined}`, bare, state.border);
    const covers = Array(256).fill(opacity);
    for (const { canvas, alt, levels, region, rim, variation } of state.tiles) {
      // Where no variation was measured, the frame is shown bare.
      const [words, ink] = {
        overlay: ["colours", { palette: colours, covers, entries: levels }],
        mask: ["marked region", { palette: [0, 0, 0, ...REGION], covers: [0, opacity], entries: region }],
        variation: variation
          ? ["variation", { palette: variationColours, covers, entries: variation }]
          : ["no variation measured,", bare],
      }[shownAs];
      const outline = at("outline").checked ? state.border : null;
      draw(canvas, `${alt}, ${words} on frame ${name}`, ink, outline, shownAs === "variation" ? rim : []);
    }
  }

  function paintLegend(id, palette) {
    const image = new ImageData(256, 1);
    for (let level = 0; level < 256; level += 1) {
      image.data.set([...palette.slice(3 * level, 3 * level + 3), 255], 4 * level);
    }
    at(id).getContext("2d").putImageData(image, 0, 0);
  }

  // ---- What the reader does ----

  const repaint = () => state.shown && paint();

  function set(id, properties) {
    Object.assign(at(id), properties);
    repaint();
  }

  function turnOpacity(by) {
    set("opacity", { value: Number(at("opacity").value) + by });
  }

  function focusSearch() {
    at("search").closest("details").open = true;
    at("search").focus();
    at("search").select();
  }

  const KEYS = {
    ArrowLeft: () => go(state.place - 1),
    ArrowRight: () => go(state.place + 1),
    m: () => set(`mode-${state.modes[(state.modes.indexOf(mode()) + 1) % state.modes.length]}`, { checked: true }),
    o: () => set("outline", { checked: !at("outline").checked }),
    "+": () => turnOpacity(10),
    "=": () => turnOpacity(10),
    "-": () => turnOpacity(-10),
    "/": focusSearch,
  };

  // Fields and boxes that scroll have uses of their own for these keys; tick boxes and buttons have none.
  const hasOwnKeys = (target) =>
    target.closest?.("select, textarea, [contenteditable], .scroll, input:not([type=checkbox])") != null;

  function inView() {
    const { top, bottom } = at("stage").getBoundingClientRect();
    return bottom > 0 && top < window.innerHeight;
  }

  function onKey(event) {
    const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const modified = event.ctrlKey || event.altKey || event.metaKey;
    if (!action || modified || !at("keys").checked || hasOwnKeys(event.target) || !inView()) return;
    event.preventDefault();
    action();
  }

  function resize() {
    at("viewer").style.setProperty("--tile", `${at("tile").value}px`);
  }

  function start() {
    at("bench").hidden = false;
    at("experiment").replaceChildren(...options(shared.experiments.map(({ element: id, title }) => [id, title])));
    at("choose-experiment").hidden = shared.experiments.length < 2;
    if (!window.matchMedia("(min-width: 62rem)").matches) {
      for (const group of document.querySelectorAll(".controls .group")) group.open = false;
    }
    at("experiment").addEventListener("change", () => choose(at("experiment").value));
    at("search").addEventListener("input", find);
    for (const id of ["class", "patient", "outcome", "annotated", "sort", "sort-method", "sort-layer"]) {
      at(id).addEventListener("change", find);
    }
    for (const id of ["methods", "layers", "together"]) {
      at(id).addEventListener("change", () => state.shown && layOut(state.shown));
    }
    for (const id of ["outline", ...MODES.map((name) => `mode-${name}`)]) at(id).addEventListener("change", repaint);
    at("opacity").addEventListener("input", repaint);
    at("tile").addEventListener("input", resize);
    at("reset").addEventListener("click", reset);
    at("previous").addEventListener("click", () => go(state.place - 1));
    at("next").addEventListener("click", () => go(state.place + 1));
    document.addEventListener("keydown", onKey);
    paintLegend("colours", colours);
    paintLegend("variation-colours", variationColours);
    resize();
    choose(at("experiment").value);
  }

  start();
})();
