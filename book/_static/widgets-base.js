// Between require.js and the widgets' script: where that finds its fonts, and the MathJax 2 call it knows, for MathJax 3.
require.config({ baseUrl: document.currentScript.src.replace(/[^/]*$/, "widgets") });
document.addEventListener("DOMContentLoaded", () => {
  if (window.MathJax) {
    MathJax.Hub = { Queue: ([, , node]) => MathJax.startup.promise.then(() => MathJax.typesetPromise([node])) };
  }
});
