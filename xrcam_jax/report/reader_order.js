"use strict";

// In which order a reader sees the pairs, and the file that holds the ratings. A study is what
// xrcam_jax/report/reader.py writes; pairs are numbered from 1, in an order that is the same for all readers.
const reading = (() => {
  const COLUMNS = [
    ...["reader", "pair", "frame", "patient", "method left", "method right"],
    ...["preference", "rating", "seconds", "marks"],
  ];
  const PREFERENCES = ["left", "equal", "right"];

  // FNV-1a of the text's UTF-8.
  function hash(text) {
    let value = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
    return value;
  }

  // Mulberry32: numbers in [0, 1).
  function numbers(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let value = Math.imul(state ^ (state >>> 15), state | 1);
      value = (value + Math.imul(value ^ (value >>> 7), value | 61)) ^ value;
      return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  // Each reader has an order of their own, so that what comes late is not the same for all; it is always the same one.
  function plan({ seed, pairs }, reader) {
    const draw = numbers(hash(`${seed}/${reader}`));
    const order = pairs.map(([frame, first, second], index) => {
      const [left, right] = draw() < 0.5 ? [first, second] : [second, first];
      return { pair: index + 1, frame, left, right };
    });
    for (let last = order.length - 1; last > 0; last -= 1) {
      const other = Math.floor(draw() * (last + 1));
      [order[last], order[other]] = [order[other], order[last]];
    }
    return order;
  }

  // What a spreadsheet would take for a formula is no name.
  const isName = (text) => /^[\p{L}\p{N}][\p{L}\p{M}\p{N} ._'-]*$/u.test(text);

  const methods = (study) => JSON.parse(new TextDecoder().decode(xrcam.bytes(study.key)));

  function row(study, reader, shown, record) {
    const names = methods(study);
    const { name, patient } = study.frames[shown.frame];
    const { preference, rating, seconds, marks } = record;
    const pair = [reader, shown.pair, name, patient, names[shown.left], names[shown.right]];
    return [...pair, preference, rating, seconds.toFixed(1), JSON.stringify(marks)].map(String);
  }

  function toCsv(study, reader, records) {
    const order = new Map(plan(study, reader).map((shown) => [shown.pair, shown]));
    const rows = records.map((record) => row(study, reader, order.get(record.pair), record));
    const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return [COLUMNS, ...rows].map((cells) => `${cells.map(quoted).join(",")}\r\n`).join("");
  }

  // Takes CSV apart: rows of cells, each row with the number of the line that it begins in.
  function rowsOf(text) {
    const rows = [];
    let [cells, cell, quoted, line, start] = [[], "", false, 1, 1];
    const endRow = () => {
      cells.push(cell);
      if (cells.length > 1 || cell) rows.push({ line: start, cells });
      [cells, cell] = [[], ""];
    };
    const plain = text.replace(/^\ufeff/, "").replaceAll("\r\n", "\n");
    for (let index = 0; index < plain.length; index += 1) {
      const letter = plain[index];
      if (letter === "\n") line += 1;
      if (quoted && letter === '"' && plain[index + 1] === '"') {
        cell += '"';
        index += 1;
      } else if (letter === '"' && (quoted || cell === "")) quoted = !quoted;
      else if (quoted) cell += letter;
      else if (letter === ",") {
        cells.push(cell);
        cell = "";
      } else if (letter === "\n") {
        endRow();
        start = line;
      } else cell += letter;
    }
    if (quoted) throw new Error(`line ${start}: a quotation mark is not closed`);
    endRow();
    return rows;
  }

  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

  function parsedMarks(text, [height, width]) {
    const isPoint = ([x, y]) => isNumber(x) && isNumber(y) && x >= 0 && x <= width && y >= 0 && y <= height;
    try {
      const marks = JSON.parse(text);
      return marks.every((mark) => mark.length > 2 && mark.every(isPoint)) ? marks : null;
    } catch {
      return null;
    }
  }

  // Reads the ratings of one reader back. Messages name the line, and never a method.
  function fromCsv(study, text) {
    const [header, ...rows] = rowsOf(text);
    const wrong = (line, what) => new Error(`line ${line}: ${what}`);
    if (header?.cells.join() !== COLUMNS.join()) throw wrong(1, `expected the columns ${COLUMNS.join(", ")}`);
    if (!rows.length) throw wrong(1, "expected ratings below it, found none");
    const reader = rows[0].cells[0];
    if (!isName(reader)) throw wrong(rows[0].line, "expected the name of a reader");
    const order = new Map(plan(study, reader).map((shown) => [String(shown.pair), shown]));
    const seen = new Set();
    const records = rows.map(({ line, cells }) => {
      if (cells.length !== COLUMNS.length) throw wrong(line, `expected ${COLUMNS.length} cells, found ${cells.length}`);
      if (cells[0] !== reader) throw wrong(line, `expected ratings of ${reader} alone, found another reader`);
      const shown = order.get(cells[1]);
      if (!shown) throw wrong(line, `expected a pair from 1 to ${order.size}, found ${cells[1]}`);
      if (seen.has(shown.pair)) throw wrong(line, `pair ${shown.pair} is there twice`);
      seen.add(shown.pair);
      const [preference, rating, seconds, marks] = [cells[6], cells[7], Number(cells[8]), parsedMarks(cells[9], study.size)];
      if (!PREFERENCES.includes(preference)) throw wrong(line, `expected left, right or equal, found ${preference}`);
      if (!/^[1-5]$/.test(rating)) throw wrong(line, `expected a rating from 1 to 5, found ${rating}`);
      if (!cells[8].trim() || !(seconds >= 0 && seconds < Infinity)) throw wrong(line, `expected seconds, found ${cells[8]}`);
      if (!marks) throw wrong(line, "expected marks as lists of three or more [x, y] inside of the frame");
      const record = { pair: shown.pair, preference, rating: Number(rating), seconds, marks };
      const same = row(study, reader, shown, record).slice(0, 6).join("\n") === cells.slice(0, 6).join("\n");
      if (!same) throw wrong(line, `pair ${shown.pair} is not the one of this page; is the file of another page?`);
      return record;
    });
    return { reader, records };
  }

  return { COLUMNS, plan, isName, toCsv, fromCsv };
})();
window.reading = reading;
