// Before anything is drawn: the scheme and the size that were chosen here. Not a module, so that nothing flashes.
(() => {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem("remuda.view") || "{}");
  } catch {
    // A browser that keeps nothing shows the defaults.
  }
  const root = document.documentElement;
  if (kept.theme === "dark" || kept.theme === "light") root.dataset.theme = kept.theme;
  if (kept.wall === true) root.dataset.wall = "";
})();
