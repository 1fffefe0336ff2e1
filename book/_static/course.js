// A slider's handle gets the name that stands beside it, for screen readers; widgets appear after the page has loaded.
if (document.querySelector('script[type="application/vnd.jupyter.widget-view+json"]')) {
  const nameSliders = () => {
    for (const handle of document.querySelectorAll('.jupyter-widgets [role="slider"]:not([aria-label])')) {
      const label = handle.closest(".jupyter-widgets").querySelector(".widget-label");
      handle.setAttribute("aria-label", (label && label.textContent.trim()) || "slider");
    }
  };
  new MutationObserver(nameSliders).observe(document.body, { childList: true, subtree: true });
}
