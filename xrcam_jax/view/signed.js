// Maps with evidence for and against, as xrcam_jax/explain/signed.py has them: in [-1, 1], and zero where there is none.
xrcam.signed = (() => {
  const SHARE = 0.98;
  const ZERO = 127;

  // Returns the values of a stored map, whose middle level stands for zero.
  const values = (map) => Float64Array.from(xrcam.bytes(map.data), (level) => (level - ZERO) / ZERO);

  // Scales a map so that the largest two pixels in a hundred have 1 or -1.
  function scaled(map) {
    const sizes = map.map(Math.abs).sort();
    const most = sizes[Math.floor(SHARE * (sizes.length - 1))] || sizes[sizes.length - 1] || 1;
    return map.map((value) => Math.min(1, Math.max(-1, value / most)));
  }

  // Makes one map of those of several layers: their mean.
  const together = (maps) => scaled(xrcam.mean(maps));

  // Turns values into numbers of 255 colours.
  const levels = (map) => Uint8Array.from(map, (value) => Math.round(ZERO * (1 + value)));

  return { values, together, levels };
})();
