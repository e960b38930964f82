// What speaks for a region, as tables.
xrcam.answer = (answer, { layer, hasChannels, layerName, points }) => {
  const THUMB = 56;
  const at = (id) => document.getElementById(id);
  const percent = (share) => `${(100 * share).toFixed(1)} %`.replace(/^-(?=0\.0 )/, "").replace("-", "−");

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  const figure = (text) => element("td", { className: "figure" }, text);

  function head(...names) {
    const cells = names.map((name, index) => element("th", { scope: "col", className: index ? "figure" : "" }, name));
    return element("thead", {}, element("tr", {}, ...cells));
  }

  function withBar(text, share) {
    const bar = element("span", { className: "bar" });
    bar.style.setProperty("--share", `${100 * Math.abs(share)}%`);
    return element("td", { className: "figure" }, text, bar);
  }

  // The activation in grey, as the layer has it, with the region's outline.
  function thumb({ rows, columns, data }, channel) {
    const grey = xrcam.bytes(data);
    const image = new ImageData(columns, rows);
    grey.forEach((value, index) => image.data.set([value, value, value, 255], 4 * index));
    const small = element("canvas", { width: columns, height: rows });
    small.getContext("2d").putImageData(image, 0, 0);
    const canvas = element("canvas", { className: "thumb", width: 2 * THUMB, height: 2 * THUMB });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Activation of channel ${channel}, dark where it is least`);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    Object.assign(context, { strokeStyle: "#ffd600", lineWidth: 3, lineJoin: "round" });
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x * canvas.width, y * canvas.height);
    context.closePath();
    context.stroke();
    return canvas;
  }

  function channelTable(id, { count, share, listed }) {
    const rows = listed.map(({ number, share: own, inside, activation }) => {
      const name = element("th", { scope: "row" }, thumb(activation, number), element("span", {}, String(number)));
      return element("tr", {}, name, withBar(percent(own), own), figure(percent(inside)));
    });
    const nothing = element("p", { className: "note" }, "No channel does.");
    const table = element("table", {}, head("Channel", "Share", "Inside"), element("tbody", {}, ...rows));
    const scroll = element("div", { className: "scroll", role: "region", tabIndex: 0, ariaLabel: at(id).firstElementChild.textContent }, table);
    at(id).replaceChildren(at(id).firstElementChild, count ? scroll : nothing);
  }

  at("layer-table").tBodies[0].replaceChildren(
    ...Object.entries(answer.mass).map(([name, mass]) => {
      const cells = [element("th", { scope: "row" }, layerName(name)), withBar(percent(mass), mass)];
      return element("tr", {}, ...cells, figure(`× ${(mass / answer.area).toFixed(1)}`));
    }),
  );
  at("answer-area").textContent = `The region is ${percent(answer.area)} of what the network sees. A map that is the same everywhere has that share of itself inside.`;
  const { for: speaking, against } = answer;
  at("channels-sum").textContent = hasChannels
    ? `Of the ${answer.channels} channels of ${layer}, ${speaking.count} speak for the region with ${percent(speaking.share)} of what is claimed there, and ${against.count} against it with ${percent(-against.share)}.`
    : "This method makes its map without channels.";
  at("channels-of").closest(".field").hidden = at("channel-tables").hidden = !hasChannels;
  channelTable("for", speaking);
  channelTable("against", against);
};
