// The steps of xrcam_jax/cam/saliency.py and xrcam_jax/metrics/overlap.py, for one map at a time.
// A map is an array of numbers, row by row; a stored map is {rows, columns, data: base64 of bytes}.
// What runs for every pixel is a plain loop: with a function for each pixel it would take five times as long.
const xrcam = (() => {
  const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

  // Returns for each of `to` pixels the two of `from` that it lies between, and its share of the second.
  function neighbours(from, to) {
    return Array.from({ length: to }, (_, index) => {
      const centre = ((index + 0.5) * from) / to - 0.5;
      const below = Math.floor(centre);
      return { low: Math.max(below, 0), high: Math.min(below + 1, from - 1), share: centre - below };
    });
  }

  // Enlarges a map bilinearly with half-pixel centres; `height` and `width` are no less than `rows` and `columns`.
  function upsample(values, rows, columns, height, width) {
    const wide = new Float64Array(rows * width);
    neighbours(columns, width).forEach(({ low, high, share }, x) => {
      for (let row = 0; row < rows; row += 1) {
        const start = row * columns;
        wide[row * width + x] = values[start + low] * (1 - share) + values[start + high] * share;
      }
    });
    const grown = new Float64Array(height * width);
    neighbours(rows, height).forEach(({ low, high, share }, y) => {
      const [start, above, below] = [y * width, low * width, high * width];
      for (let x = 0; x < width; x += 1) {
        grown[start + x] = wide[above + x] * (1 - share) + wide[below + x] * share;
      }
    });
    return grown;
  }

  // Scales a map to [0, 1]; a constant one gives zeros.
  function minMax(values) {
    let [low, high] = [Infinity, -Infinity];
    for (let index = 0; index < values.length; index += 1) {
      if (values[index] < low) low = values[index];
      if (values[index] > high) high = values[index];
    }
    const scaled = new Float64Array(values.length);
    if (high === low) return scaled;
    for (let index = 0; index < values.length; index += 1) scaled[index] = (values[index] - low) / (high - low);
    return scaled;
  }

  const upsampled = (map, [height, width]) =>
    upsample(new Float64Array(bytes(map.data)).map((value) => value / 255), map.rows, map.columns, height, width);

  function mean(maps) {
    const average = new Float64Array(maps[0].length);
    for (const map of maps) {
      for (let index = 0; index < map.length; index += 1) average[index] += map[index] / maps.length;
    }
    return average;
  }

  const saliency = (map, size) => minMax(upsampled(map, size));

  // Returns how many pixels of the picture one place of a stored map stands for along an axis.
  const stride = (map, [height, width]) => Math.sqrt((height * width) / (map.rows * map.columns));

  // Makes one map of those of several layers; `strides` are the weights of "weighted".
  function fused(maps, how, strides) {
    if (how === "mean") return minMax(mean(maps));
    const largest = maps.map((map) => map.reduce((most, value) => Math.max(most, value), 0) || 1);
    const shares = strides.map((weight) => weight / strides.reduce((sum, value) => sum + value, 0));
    const together = new Float64Array(maps[0].length).fill(how === "product" ? 1 : 0);
    maps.forEach((map, layer) => {
      for (let index = 0; index < map.length; index += 1) {
        if (how === "maximum") together[index] = Math.max(together[index], Math.tanh((2 * map[index]) / largest[layer]));
        else if (how === "weighted") together[index] += shares[layer] * map[index];
        else together[index] *= map[index] ** (1 / maps.length);
      }
    });
    return minMax(together);
  }

  const aggregate = (maps, size, how = "mean") =>
    fused(
      maps.map((map) => upsampled(map, size)),
      how,
      maps.map((map) => stride(map, size)),
    );

  // Marks the pixels above mean + standard deviation (of the population) with ones.
  function salient(values) {
    let [sum, squares] = [0, 0];
    for (let index = 0; index < values.length; index += 1) sum += values[index];
    const average = sum / values.length;
    for (let index = 0; index < values.length; index += 1) squares += (values[index] - average) ** 2;
    const threshold = average + Math.sqrt(squares / values.length);
    const inside = new Uint8Array(values.length);
    for (let index = 0; index < values.length; index += 1) inside[index] = values[index] > threshold ? 1 : 0;
    return inside;
  }

  // Turns values in [0, 1] into numbers of 256 colours.
  function levels(values) {
    const rounded = new Uint8Array(values.length);
    for (let index = 0; index < values.length; index += 1) rounded[index] = Math.round(255 * values[index]);
    return rounded;
  }

  // Lists the places of those pixels of a mask that have a neighbour outside of it.
  function border(mask, height, width) {
    const within = (y, x) => y >= 0 && y < height && x >= 0 && x < width && mask[y * width + x];
    const places = [];
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const deep = within(y - 1, x) && within(y + 1, x) && within(y, x - 1) && within(y, x + 1);
        if (within(y, x) && !deep) places.push(y * width + x);
      }
    }
    return places;
  }

  return { bytes, upsample, upsampled, minMax, mean, stride, fused, saliency, aggregate, salient, levels, border };
})();
window.xrcam = xrcam;
