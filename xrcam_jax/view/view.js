// What the reader does with the pictures, and what is shown then. maps.js and region.js come before it.
(async () => {
  const MARKED = [0, 214, 190];
  const TOGETHER = "together";
  const MODES = ["colours", "mask", "bare"];

  const at = (id) => document.getElementById(id);
  const state = { session: null, place: 0, turn: 0, shown: null, picture: null, maps: new Map(), signed: new Map(), layer: TOGETHER };
  const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
  const layerName = (name) =>
    name === TOGETHER ? "Layers together" : name === "input" ? "Input" : name.replace(/^layer(\d+)$/, "Layer $1");
  const className = (index) => state.session.classes[index];
  const methodTitle = () => at("method").selectedOptions[0].textContent;
  const method = () => state.session.methods.find(({ name }) => name === at("method").value);
  const mode = () => MODES.find((name) => at(`mode-${name}`).checked);
  const isSigned = () => state.signed.size > 0 && at("signed").checked;
  const ticked = () => [...at("layers").querySelectorAll("input:checked")].map((box) => box.value);

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  const options = (pairs) => pairs.map(([value, text]) => element("option", { value, textContent: text }));

  // ---- What the server is asked ----

  async function json(address, request = {}) {
    const answer = await fetch(address, request);
    if (answer.ok) return answer.json();
    const text = await answer.text();
    let line = text.trim();
    if (answer.headers.get("content-type")?.includes("json")) line = JSON.parse(text).error;
    throw Object.assign(new Error(line), { status: answer.status });
  }

  function mapsOf(place) {
    const asked = new URLSearchParams({ method: at("method").value, target: at("target").value });
    return `api/frames/${place}/maps?${asked}`;
  }

  async function picture(place) {
    const image = new Image();
    image.src = `api/frames/${place}/picture`;
    await image.decode();
    return image;
  }

  const said = (error) =>
    error.status ? error.message : "The server does not answer. Is xrcam view still running in its terminal?";

  // A reader who pages fast asks for another picture before the last one is there: only the last request counts.
  async function show() {
    const turn = (state.turn += 1);
    const { place } = state;
    state.request?.abort();
    state.request = new AbortController();
    const { signal } = state.request;
    where();
    const waiting = watch(turn);
    try {
      const found = await json(mapsOf(place), { signal });
      const image = await picture(place);
      if (turn !== state.turn) return;
      Object.assign(state, { shown: found, picture: image });
      state.maps = new Map(Object.entries(found.maps).map(([layer, map]) => [layer, xrcam.saliency(map, found.size)]));
      state.signed = new Map(Object.entries(found.signed).map(([layer, map]) => [layer, xrcam.signed.values(map)]));
      at("shown").hidden = false;
      at("trouble").hidden = true;
      describe();
      layOut();
      ask();
      prepare(turn);
    } catch (error) {
      if (turn !== state.turn || error.name === "AbortError") return;
      state.shown = null;
      at("shown").hidden = true;
      at("trouble").hidden = false;
      at("trouble").textContent = said(error);
    } finally {
      clearInterval(waiting);
      if (turn === state.turn) at("busy").textContent = state.waiting = "";
    }
  }

  // Says how far a long computation is.
  function watch(turn) {
    state.waiting = true;
    return setInterval(async () => {
      const { name, done, total } = await json("api/progress").catch(() => ({}));
      // Both may have changed while this was asked.
      if (turn !== state.turn || !state.waiting) return;
      const steps = total ? `: ${name}, ${done} of ${total}` : "; a method takes longer when it is chosen first";
      at("busy").textContent = `Computing ${methodTitle()}${steps} …`;
    }, 700);
  }

  // Has the next picture explained while this one is looked at.
  function prepare(turn) {
    const next = state.place + 1;
    if (next >= state.session.frames.length || !method().quick) return;
    setTimeout(() => turn === state.turn && fetch(mapsOf(next), { signal: state.request.signal }).catch(() => {}), 150);
  }

  function go(place) {
    const wanted = Math.min(Math.max(place, 0), state.session.frames.length - 1);
    if (wanted === state.place) return;
    state.place = wanted;
    show();
  }

  function where() {
    const { frames } = state.session;
    at("count").textContent = `${state.place + 1} of ${frames.length}`;
    at("name").textContent = frames[state.place];
    at("place").value = state.place + 1;
    at("previous").setAttribute("aria-disabled", String(state.place <= 0));
    at("next").setAttribute("aria-disabled", String(state.place >= frames.length - 1));
    const kept = { picture: state.place + 1, method: at("method").value, class: at("target").value };
    history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
  }

  // ---- One picture ----

  function describe() {
    const { scores, predicted, target, source, whole, box } = state.shown;
    at("scores").replaceChildren(
      ...scores.map(({ class: index, score }) => {
        const bar = element("span", { className: "bar" });
        bar.style.setProperty("--share", `${100 * score}%`);
        const name = `${className(index)}${index === predicted ? " (decision)" : ""}`;
        const label = element("span", { className: "score" }, element("span", {}, name), " ", percent(score));
        const button = element("button", { type: "button", title: "Explain this class" }, label, bar);
        button.setAttribute("aria-pressed", String(index === target));
        button.addEventListener("click", () => {
          at("target").value = index;
          show();
        });
        return element("li", {}, button);
      }),
    );
    const [top, left, bottom, right] = box;
    const all = top === 0 && left === 0 && bottom === whole[0] && right === whole[1];
    const facts = [
      ["File", source],
      ["Picture", `${whole[1]} × ${whole[0]} pixels`],
      ["Network sees", all ? "all of it" : `columns ${left} to ${right}, rows ${top} to ${bottom}`],
    ];
    const row = ([term, text]) =>
      element("div", {}, element("dt", { textContent: term }), element("dd", { textContent: text }));
    at("facts").replaceChildren(...facts.map(row));
  }

  function layOut() {
    const layers = [...state.maps.keys()];
    const counted = layers.filter((layer) => ticked().includes(layer));
    const several = counted.length > 1;
    state.maps.delete(TOGETHER);
    if (several) {
      const chosen = counted.map((layer) => state.shown.maps[layer]);
      state.maps.set(TOGETHER, xrcam.aggregate(chosen, state.shown.size));
      if (state.signed.size) state.signed.set(TOGETHER, xrcam.signed.together(counted.map((layer) => state.signed.get(layer))));
    }
    if (!state.maps.has(state.layer)) state.layer = several ? TOGETHER : layers.at(-1);
    at("maps").replaceChildren(...[...state.maps.keys()].map(tile));
    const channels = Object.keys(state.shown.channels);
    const before = at("channels-of").value;
    at("channels-of").replaceChildren(...options(channels.map((name) => [name, layerName(name)])));
    const usual = channels.filter((name) => name !== "input").at(-1) ?? channels.at(-1);
    at("channels-of").value = channels.includes(before) ? before : (usual ?? "");
    paint();
  }

  function tile(layer) {
    const canvas = element("canvas", { className: "map" });
    const name = element("span", {}, layerName(layer));
    const button = element("button", { type: "button", className: "tile" }, canvas, name, element("small"));
    button.dataset.layer = layer;
    button.addEventListener("click", () => {
      state.layer = layer;
      if (layer in state.shown.channels) at("channels-of").value = layer;
      paint();
      ask();
    });
    return button;
  }

  // ---- Pixels ----

  const palette = () => (isSigned() ? state.diverging : state.palettes[at("palette").value]);

  // Returns the colours of a map, which let the picture through, as a canvas of the map's size.
  function coloured(layer) {
    const values = state.maps.get(layer);
    const [height, width] = state.shown.size;
    const image = new ImageData(width, height);
    const opacity = (255 * at("opacity").value) / 100;
    if (mode() === "mask") {
      const region = xrcam.salient(values);
      region.forEach((inside, index) => inside && image.data.set([...MARKED, opacity], 4 * index));
    } else if (mode() === "colours") {
      const shown = isSigned() ? state.signed.get(layer) : values;
      const levels = isSigned() ? xrcam.signed.levels(shown) : xrcam.levels(shown);
      const [colours, follow] = [palette(), at("follow").checked];
      for (let index = 0; index < levels.length; index += 1) {
        const level = levels[index];
        image.data.set(colours.subarray(3 * level, 3 * level + 3), 4 * index);
        image.data[4 * index + 3] = follow ? opacity * Math.min(1, 1.5 * Math.abs(shown[index])) : opacity;
      }
    }
    const canvas = element("canvas", { width, height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  function draw(canvas, layer, width, height) {
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.drawImage(state.picture, 0, 0, width, height);
    context.drawImage(coloured(layer), 0, 0, width, height);
  }

  function paint() {
    const { naturalWidth: width, naturalHeight: height } = state.picture;
    const shownAs = mode();
    at("opacity-shown").textContent = `${at("opacity").value} %`;
    at("legend-colours").hidden = shownAs !== "colours";
    at("legend-mask").hidden = shownAs !== "mask";
    at("of-sign").hidden = !state.signed.size;
    at("palette").disabled = isSigned();
    at("legend-region").hidden = !region.points().length;
    const explained = `${methodTitle()} for ${className(state.shown.target)}, ${layerName(state.layer)}`;
    at("board").style.setProperty("--aspect", width / height);
    draw(at("main"), state.layer, width, height);
    at("main").setAttribute("aria-label", `${explained}, on ${state.shown.name}`);
    at("main-caption").textContent = explained;
    for (const button of at("maps").children) {
      const small = Math.min(1, 260 / Math.max(width, height));
      draw(button.firstChild, button.dataset.layer, Math.round(small * width) || 1, Math.round(small * height) || 1);
      button.setAttribute("aria-pressed", String(button.dataset.layer === state.layer));
    }
    paintLegend();
  }

  function paintLegend() {
    const colours = palette();
    const count = colours.length / 3;
    const legend = new ImageData(count, 1);
    for (let level = 0; level < count; level += 1) legend.data.set([...colours.subarray(3 * level, 3 * level + 3), 255], 4 * level);
    at("colours").width = count;
    at("colours").getContext("2d").putImageData(legend, 0, 0);
    const [low, high, from] = isSigned() ? ["against", "for the class", "against to for"] : ["least", "most", "least to most"];
    at("lowest").textContent = low;
    at("highest").textContent = `${high}, in each map by itself`;
    at("colours").setAttribute("aria-label", `Colours from ${from}`);
  }

  // ---- What speaks for a region ----

  // Only the last region counts, as only the last picture does.
  async function ask() {
    const turn = (state.asked = (state.asked ?? 0) + 1);
    const points = region.points();
    at("legend-region").hidden = !points.length;
    at("answer-hint").hidden = points.length > 0;
    if (!points.length || !state.shown) {
      at("answered").hidden = at("answer-trouble").hidden = true;
      for (const button of at("maps").children) button.lastChild.textContent = "";
      return;
    }
    const { target, channels, maps } = state.shown;
    const layer = at("channels-of").value || Object.keys(maps)[0];
    const body = JSON.stringify({ method: at("method").value, target, layer, points });
    try {
      const answer = await json(`api/frames/${state.place}/region`, { method: "POST", body });
      if (turn !== state.asked) return;
      xrcam.answer(answer, { layer: layerName(layer), hasChannels: layer in channels, layerName, points });
      for (const button of at("maps").children) {
        const mass = answer.mass[button.dataset.layer];
        button.lastChild.textContent = mass === undefined ? "" : `${percent(mass)} inside`;
      }
      at("answer-trouble").hidden = true;
      at("answered").hidden = false;
    } catch (error) {
      if (turn !== state.asked) return;
      at("answered").hidden = true;
      at("answer-trouble").hidden = false;
      at("answer-trouble").textContent = said(error);
    }
  }

  // ---- What the reader does ----

  const repaint = () => state.shown && paint();

  function set(id, properties) {
    Object.assign(at(id), properties);
    repaint();
  }

  function use(tool) {
    at(`tool-${tool || "none"}`).checked = true;
    region.use(tool);
  }

  const turnOpacity = (by) => set("opacity", { value: Number(at("opacity").value) + by });

  const KEYS = {
    ArrowLeft: () => go(state.place - 1),
    ArrowRight: () => go(state.place + 1),
    m: () => set(`mode-${MODES[(MODES.indexOf(mode()) + 1) % MODES.length]}`, { checked: true }),
    r: () => use("rectangle"),
    f: () => use("freehand"),
    Escape: () => (region.points().length ? region.clear() : use("")),
    "+": () => turnOpacity(10),
    "=": () => turnOpacity(10),
    "-": () => turnOpacity(-10),
  };

  // Fields and boxes that scroll have uses of their own for these keys; tick boxes and buttons have none.
  const hasOwnKeys = (target) => target.closest?.("select, .scroll, input:not([type=checkbox])") != null;

  function onKey(event) {
    const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const modified = event.ctrlKey || event.altKey || event.metaKey;
    if (!action || modified || !at("keys").checked || hasOwnKeys(event.target)) return;
    event.preventDefault();
    action();
  }

  function mark() {
    const [left, top, right, bottom] = ["left", "top", "right", "bottom"].map((id) => Number(at(id).value) / 100);
    const fits = 0 <= left && left < right && right <= 1 && 0 <= top && top < bottom && bottom <= 1;
    if (fits) region.mark(left, top, right, bottom);
    at("answer-trouble").hidden = fits;
    at("answer-trouble").textContent = fits ? "" : "Left has to be less than right, top less than bottom, from 0 to 100.";
  }

  function fill() {
    const { methods, layers, classes, frames, palettes, diverging, described } = state.session;
    at("described").textContent = described;
    const group = (label, quick) => {
      const some = methods.filter((each) => each.quick === quick).map(({ name, title }) => [name, title]);
      return element("optgroup", { label, hidden: !some.length }, ...options(some));
    };
    at("method").replaceChildren(group("One pass", true), group("Many passes: slow", false));
    at("method").value = methods[0].name;
    at("target").replaceChildren(...options([["", "The network’s decision"], ...classes.map((name, index) => [index, name])]));
    at("palette").replaceChildren(...options(Object.keys(palettes).map((name) => [name, name])));
    state.palettes = Object.fromEntries(Object.entries(palettes).map(([name, text]) => [name, xrcam.bytes(text)]));
    state.diverging = xrcam.bytes(diverging);
    at("layers").replaceChildren(
      ...layers.map((name) => {
        const box = element("input", { type: "checkbox", value: name, checked: name !== "input" });
        return element("label", { className: "tick" }, box, " ", element("span", { textContent: layerName(name) }));
      }),
    );
    at("place").max = frames.length;
    at("place").disabled = frames.length < 2;
    // After a reload the reader is where they were.
    const kept = new URLSearchParams(location.hash.slice(1));
    const offered = (id, value) => [...at(id).querySelectorAll("option")].some((option) => option.value === value);
    for (const [id, name] of [["method", "method"], ["target", "class"]]) {
      if (offered(id, kept.get(name))) at(id).value = kept.get(name);
    }
    state.place = Math.min(Math.max(Math.trunc(Number(kept.get("picture")) || 1), 1), frames.length) - 1;
  }

  function listen() {
    for (const id of ["method", "target"]) at(id).addEventListener("change", show);
    for (const name of MODES) at(`mode-${name}`).addEventListener("change", repaint);
    for (const id of ["palette", "follow", "signed"]) at(id).addEventListener("change", repaint);
    for (const tool of ["none", "rectangle", "freehand"]) {
      at(`tool-${tool}`).addEventListener("change", () => use(tool === "none" ? "" : tool));
    }
    at("opacity").addEventListener("input", repaint);
    at("layers").addEventListener("change", () => state.shown && layOut());
    at("channels-of").addEventListener("change", ask);
    at("place").addEventListener("input", () => go(Number(at("place").value) - 1));
    at("previous").addEventListener("click", () => go(state.place - 1));
    at("next").addEventListener("click", () => go(state.place + 1));
    at("clear").addEventListener("click", () => region.clear());
    at("mark").addEventListener("click", mark);
    document.addEventListener("keydown", onKey);
  }

  const region = xrcam.region(at("board"), [at("halo"), at("line")], ask);
  state.session = await json("api/session");
  at("bench").hidden = false;
  if (!window.matchMedia("(min-width: 62rem)").matches) {
    for (const group of document.querySelectorAll(".controls .group")) group.open = false;
  }
  fill();
  listen();
  show();
})();
