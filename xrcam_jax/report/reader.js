// What a reader does with the pairs, and what is shown then. maps.js, reader_order.js and reader_marks.js come before it.
(() => {
  const COVERS = 0.5;

  const at = (id) => document.getElementById(id);
  const study = JSON.parse(at("study").textContent);
  const colours = xrcam.bytes(study.colours);
  const STORE = `xrcam-reader-${study.name}`;

  const nothing = () => ({ preference: null, rating: null, marks: [] });
  // `records` are the pairs that are done, in order; `draft` is what is said of the one that is shown, `past` what was
  // said of it before each change. `seconds` have passed at it until `since`, when the page was last seen again.
  const state = { reader: null, order: [], records: [], shown: null, draft: nothing(), past: [], seconds: 0, since: 0 };
  const marks = marking(study.size, (mark) => change({ marks: [...state.draft.marks, mark] }, "A mark is drawn."), say);

  function say(words) {
    at("said").textContent = words;
  }

  function complain(words) {
    at("trouble").textContent = words;
  }

  // ---- What is kept in the browser ----

  // Browsers may be told to keep nothing of a page, or have no room.
  function kept(key) {
    try {
      return JSON.parse(localStorage.getItem(key));
    } catch {
      return null;
    }
  }

  function keep() {
    const { reader, records, draft, shown } = state;
    const open = shown && { ...draft, pair: shown.pair, seconds: elapsed() };
    try {
      localStorage.setItem(`${STORE}/${reader}`, JSON.stringify({ records, open }));
      localStorage.setItem(STORE, JSON.stringify(reader));
    } catch {
      complain("This browser keeps nothing: export the ratings before you close the page.");
    }
  }

  const elapsed = () => state.seconds + (document.hidden ? 0 : (performance.now() - state.since) / 1000);

  // Time counts while the page is seen.
  function onVisibility() {
    if (document.hidden) state.seconds += (performance.now() - state.since) / 1000;
    else state.since = performance.now();
    if (document.hidden && state.reader) keep();
  }

  // ---- One pair ----

  async function brightness(base64) {
    const [height, width] = study.size;
    const image = new Image();
    image.src = `data:image/png;base64,${base64}`;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, width, height).data.filter((_, index) => index % 4 === 0);
  }

  // Draws the frame, and a map on it if there is one.
  function draw(canvas, picture, maps) {
    const [height, width] = study.size;
    const levels = maps && xrcam.levels(xrcam.aggregate(maps, study.size, study.how));
    const image = new ImageData(width, height);
    for (let index = 0; index < picture.length; index += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        const grey = picture[index];
        const laid = levels ? grey * (1 - COVERS) + colours[3 * levels[index] + channel] * COVERS : grey;
        image.data[4 * index + channel] = laid;
      }
      image.data[4 * index + 3] = 255;
    }
    Object.assign(canvas, { width, height });
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  async function paint(shown) {
    const frame = study.frames[shown.frame];
    const picture = await brightness(frame.picture);
    // A fast reader is already at another pair.
    if (shown !== state.shown) return;
    draw(at("left"), picture, frame.maps[shown.left]);
    draw(at("right"), picture, frame.maps[shown.right]);
    draw(at("bare"), picture, null);
    at("pair").dataset.painted = shown.pair;
  }

  // Shows a pair, with what was said of it; without one, the next that is not done.
  function show(open) {
    const done = new Set(state.records.map(({ pair }) => pair));
    const shown = state.order.find(({ pair }) => (open ? pair === open.pair : !done.has(pair))) ?? null;
    const draft = open ? { preference: open.preference, rating: open.rating, marks: open.marks } : nothing();
    Object.assign(state, { shown, draft, past: [], seconds: open?.seconds ?? 0, since: performance.now() });
    at("pair").hidden = !shown;
    at("done").hidden = Boolean(shown);
    const [place, all] = [done.size + (shown ? 1 : 0), state.order.length];
    at("where").textContent = shown ? `Pair ${place} of ${all}` : `All ${all} pairs are rated`;
    Object.assign(at("progress"), { max: all, value: done.size });
    if (shown) {
      const frame = study.frames[shown.frame];
      at("facts").textContent = `Class: ${frame.class} · The network says: ${frame.predicted}`;
      paint(shown);
    }
    turnMarking(false);
    render();
    keep();
  }

  function render() {
    const { preference, rating, marks: drawn } = state.draft;
    for (const radio of at("answer").querySelectorAll("input[type=radio]")) {
      radio.checked = radio.value === String(radio.name === "preference" ? preference : rating);
    }
    marks.show(drawn);
  }

  // ---- What the reader does ----

  function change(part, words = "") {
    if (!state.shown) return;
    state.past.push(state.draft);
    state.draft = { ...state.draft, ...part };
    say(words);
    render();
    keep();
  }

  function confirm() {
    const { draft, shown } = state;
    if (!shown) return;
    if (!draft.preference) return say("Say first which map is better: left, right or equal.");
    if (!draft.rating) return say("Give a number from 1 to 5 first.");
    state.records.push({ ...draft, pair: shown.pair, seconds: Math.round(10 * elapsed()) / 10 });
    say("");
    show();
    at("where").scrollIntoView({ block: "nearest" });
  }

  // Takes back the last corner, change, or pair.
  function undo() {
    if (marks.undo()) return say("The last corner is gone.");
    if (state.past.length) {
      state.draft = state.past.pop();
      render();
      keep();
      return say("The last change is taken back.");
    }
    const last = state.records.pop();
    if (!last) return say("There is nothing to take back.");
    show(last);
    say("Back at the pair before.");
  }

  function turnMarking(on) {
    marks.turn(on);
    at("reading").classList.toggle("marking", on);
    at("mark").setAttribute("aria-pressed", String(on));
  }

  function switchMarking() {
    if (!state.shown) return;
    turnMarking(!marks.isOn());
    say(marks.isOn() ? "Draw round what matters." : "");
  }

  function save() {
    const file = new Blob([reading.toCsv(study, state.reader, state.records)], { type: "text/csv" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `ratings_${state.reader.replace(/[^\p{L}\p{M}\p{N}]+/gu, "_")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`${state.records.length} of ${state.order.length} pairs are exported.`);
  }

  // ---- Who reads ----

  function begin(reader, found = []) {
    const order = reading.plan(study, reader);
    const before = kept(`${STORE}/${reader}`) ?? { records: [], open: null };
    const imported = new Set(found.map(({ pair }) => pair));
    const records = [...before.records.filter(({ pair }) => !imported.has(pair)), ...found];
    Object.assign(state, { reader, order, records });
    at("begin").hidden = true;
    at("reading").hidden = false;
    show(before.open && !imported.has(before.open.pair) ? before.open : undefined);
    at("where").focus();
  }

  function onStart(event) {
    event.preventDefault();
    const reader = at("who").value.trim().normalize("NFC");
    if (!reading.isName(reader)) return complain("A name has letters, numbers, spaces and . _ - ' in it, and begins with a letter or number.");
    complain("");
    begin(reader);
  }

  async function onImport() {
    const [file] = at("import").files;
    if (!file) return;
    try {
      const { reader, records } = reading.fromCsv(study, await file.text());
      complain("");
      begin(reader, records);
      say(`${records.length} ratings of ${reader} are read.`);
    } catch (error) {
      complain(`${file.name}: ${error.message}`);
    }
    at("import").value = "";
  }

  const KEYS = {
    ArrowLeft: () => change({ preference: "left" }, "Left is better."),
    ArrowRight: () => change({ preference: "right" }, "Right is better."),
    ArrowUp: () => change({ preference: "equal" }, "Both are equal."),
    ArrowDown: () => change({ preference: "equal" }, "Both are equal."),
    ...Object.fromEntries([1, 2, 3, 4, 5].map((rating) => [rating, () => change({ rating }, `${rating} of 5.`)])),
    Enter: confirm,
    u: undo,
    m: switchMarking,
  };

  function onKey(event) {
    if (at("reading").hidden || !at("keys").checked || event.ctrlKey || event.altKey || event.metaKey) return;
    // Buttons and boxes keep the keys that press them.
    const pressed = event.target.closest?.("button, input[type=checkbox]") && ["Enter", " "].includes(event.key);
    if (pressed) return;
    if (event.key === "Escape" && marks.isOn()) {
      turnMarking(false);
      say("");
    } else if (!marks.key(event)) {
      const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!action) return;
      action();
    }
    event.preventDefault();
  }

  // A button that was clicked would take the next Enter, which is meant for the next pair.
  const clicked = (action) => (event) => {
    if (event.detail > 0) event.currentTarget.blur();
    action();
  };

  function start() {
    at("begin").hidden = false;
    at("how-many").textContent = study.pairs.length;
    at("who").value = kept(STORE) ?? "";
    at("start").addEventListener("submit", onStart);
    at("import").addEventListener("change", onImport);
    at("answer").addEventListener("submit", (event) => {
      event.preventDefault();
      if (event.submitter && event.submitter === document.activeElement) event.submitter.blur();
      confirm();
    });
    at("answer").addEventListener("change", ({ target }) => {
      change({ [target.name]: target.name === "rating" ? Number(target.value) : target.value });
    });
    at("mark").addEventListener("click", clicked(switchMarking));
    at("undo").addEventListener("click", clicked(undo));
    at("export").addEventListener("click", clicked(save));
    document.addEventListener("keydown", onKey);
    document.addEventListener("visibilitychange", onVisibility);
    window.addEventListener("pagehide", () => state.reader && keep());
  }

  start();
})();
