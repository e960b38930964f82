"use strict";

// What is folded: all of it can be opened at once, and is open while the page is printed.
(() => {
  const folded = () => [...document.querySelectorAll("#experiments details:not(.settings)")];
  const shut = () => [...document.querySelectorAll("details:not(.settings, .group)")].filter((one) => !one.open);
  const button = document.getElementById("unfold");
  let opened = [];

  const allOpen = () => folded().every((one) => one.open);
  const say = () => (button.textContent = allOpen() ? "Close all" : "Open all");

  function turn() {
    const open = !allOpen();
    for (const one of folded()) one.open = open;
  }

  button.hidden = false;
  button.addEventListener("click", turn);
  // The event of a <details> does not bubble.
  document.addEventListener("toggle", say, true);
  window.addEventListener("beforeprint", () => {
    opened = shut();
    for (const one of opened) one.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
  });
})();
