// Models that run in the page. Loaded by the widgets of lectures_lib/visual/live.py when they come into sight; the runtime
// (14 MB, from this book's own _static/onnx) is fetched at the first use. Other widgets add a function beside `translator`.
window.lecturesLive = window.lecturesLive || (() => {
  "use strict";
  const base = new URL(".", document.currentScript.src);

  // ---- the runtime ----

  let runtime = null;
  const loadRuntime = () => {
    runtime = runtime || import(new URL("onnx/ort.wasm.bundle.min.mjs", base).href).then((ort) => {
      ort.env.wasm.numThreads = 1; // more would need headers that a plain web server does not send
      ort.env.wasm.wasmPaths = { wasm: new URL("onnx/ort-wasm-simd-threaded.wasm", base).href };
      return ort;
    });
    runtime.catch(() => { runtime = null; }); // so that a second try tries again
    return runtime;
  };

  /** A graph that came as base64, ready: `await run({name: tensor})` gives its outputs by name. */
  const session = async (graph) => {
    const ort = await loadRuntime();
    const bytes = Uint8Array.from(atob(graph), (letter) => letter.charCodeAt(0));
    const made = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    return (inputs) => made.run(inputs);
  };

  /** A row of whole numbers as a tensor (1, length). */
  const wholeNumbers = (ort, numbers) =>
    new ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), [1, numbers.length]);

  const argmax = (numbers) => numbers.reduce((best, value, i) => (value > numbers[best] ? i : best), 0);

  const pause = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });

  const make = (name, attributes = {}, text = "") => {
    const node = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
    node.textContent = text;
    return node;
  };

  // ---- sentences: the same rules as `cut` in live.py ----

  const near = (words, hint) => (words.length ? `; ${hint}: ${words.join(", ")}` : "");

  const editDistance = (a, b) => {
    let row = Array.from({ length: b.length + 1 }, (_, j) => j);
    for (let i = 1; i <= a.length; i += 1) {
      const next = [i];
      for (let j = 1; j <= b.length; j += 1) {
        next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1])));
      }
      row = next;
    }
    return row[b.length];
  };

  const longest = (text, words) => {
    const known = new Set(words);
    const most = Math.max(...words.map((word) => word.length));
    const found = [];
    for (let at = 0; at < text.length;) {
      if (/\s/.test(text[at])) { at += 1; continue; }
      let end = Math.min(text.length, at + most);
      while (end > at && !known.has(text.slice(at, end))) end -= 1;
      if (end === at) {
        const letter = String.fromCodePoint(text.codePointAt(at));
        const like = words.filter((word) => word.includes(letter)).slice(0, 5);
        throw new RangeError(`No word the model knows starts at “${letter}” (character ${at + 1})${near(like, "near")}.`);
      }
      found.push(text.slice(at, end));
      at = end;
    }
    return found;
  };

  const betweenSpaces = (text, words) => text.split(/\s+/).filter(Boolean).map((word) => {
    const chosen = words.includes(word) ? word : word.toLowerCase();
    if (!words.includes(chosen)) {
      const like = words.filter((other) => editDistance(chosen, other) <= 2).slice(0, 3);
      throw new RangeError(`The model does not know the word “${word}”${near(like, "near")}.`);
    }
    return chosen;
  });

  const cut = (text, data) => {
    const words = data.source.slice(data.specials);
    const plain = text.normalize("NFC").trim().replace(/[。.]$/, "");
    const found = (data.segment === "longest" ? longest : betweenSpaces)(plain, words);
    if (!found.length) throw new RangeError("Type a sentence first.");
    if (found.length > data.maxSource) throw new RangeError(`At most ${data.maxSource} words, got ${found.length}.`);
    return found;
  };

  // ---- a map of attention ----

  /** A table to be read with the pointer or the arrow keys; `tell` gets a sentence for the cell in question. */
  const drawMap = (place, { rows, columns, weight, colour, caption }, tell) => {
    const table = make("table", { class: "lectures-map", role: "grid" });
    table.append(make("caption", {}, caption));
    const head = table.createTHead().insertRow();
    const corner = make("td");
    corner.style.border = "0";
    head.append(corner, ...columns.map((word) => make("th", { scope: "col" }, word)));
    const body = table.createTBody();
    const cells = rows.map((word, r) => {
      const row = body.insertRow();
      row.append(make("th", { scope: "row" }, word));
      return columns.map((column, c) => {
        const value = Math.min(Math.max(weight(r, c), 0), 1);
        const says = `${word} looks at ${column}: ${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`;
        const cell = make("td", { "aria-label": says, tabindex: r + c ? "-1" : "0", "data-at": `${r} ${c}` });
        cell.style.background = colour + Math.round(255 * value).toString(16).padStart(2, "0");
        row.append(cell);
        return cell;
      });
    });
    const say = (event) => {
      const cell = event.target.closest("td[data-at]");
      if (cell) tell(cell.getAttribute("aria-label"));
    };
    table.addEventListener("mouseover", say);
    table.addEventListener("focusin", say);
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    table.addEventListener("keydown", (event) => {
      const cell = event.target.closest("td[data-at]");
      if (!cell || !moves[event.key]) return;
      const [r, c] = cell.dataset.at.split(" ").map(Number);
      const next = (cells[r + moves[event.key][0]] || [])[c + moves[event.key][1]];
      event.preventDefault();
      if (!next) return;
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
    // The box scrolls on a narrow screen; its cells take the keyboard's focus, so it need not.
    place.removeAttribute("tabindex");
    place.replaceChildren(table);
  };

  // ---- the translator ----

  const translator = (root) => {
    const get = (name) => root.querySelector(`[data-${name}]`);
    const data = JSON.parse(get("payload").textContent);
    const [form, note, error, read, said] = ["form", "note", "error", "read", "said"].map(get);
    const [kind, layer, head, map, readout] = ["kind", "layer", "head", "map", "readout"].map(get);
    const field = form.querySelector("input");
    const fromFile = location.protocol === "file:";
    let shown = null; // what stands in the widget: read, written, maps
    let turn = 0; // a newer sentence stops an older one
    let model = null;

    const option = (value, text) => make("option", { value }, text);
    const fillLayers = () => {
      const count = data.layers[kind.value];
      layer.replaceChildren(...Array.from({ length: count }, (_, i) => option(i, i + 1)));
      layer.value = count - 1;
    };

    const draw = () => {
      if (!shown.written.length) return;
      const before = [data.target[data.bos], ...shown.written.slice(0, -1)];
      const axes = { encoder: [shown.read, shown.read], decoder: [shown.written, before], cross: [shown.written, shown.read] };
      const [rows, columns] = axes[kind.value];
      const heads = head.value === "mean" ? Array.from({ length: data.heads }, (_, i) => i) : [Number(head.value)];
      const size = rows.length * columns.length;
      const numbers = shown.maps[kind.value];
      const start = (h) => (Number(layer.value) * data.heads + h) * size;
      const weight = (r, c) =>
        heads.reduce((sum, h) => sum + numbers[start(h) + r * columns.length + c], 0) / heads.length;
      const looks = { rows, columns, weight, colour: data.colours[kind.value], caption: data.captions[kind.value] };
      drawMap(map, looks, (text) => { readout.textContent = text; });
      readout.textContent = "Point at a cell, or move with the arrow keys, to read a weight.";
    };

    const show = (state) => {
      shown = state;
      read.textContent = state.read.join(" ");
      said.textContent = state.written.filter((word) => word !== data.target[data.eos]).join(" ");
      draw();
    };

    const complain = (text) => {
      error.textContent = text;
      error.hidden = !text;
      field.setAttribute("aria-invalid", String(Boolean(text)));
    };

    const precomputed = (index) => {
      const { maps, ...rest } = data.examples[index];
      const whole = Object.entries(maps).map(([name, numbers]) => [name, numbers.map((n) => n / 1000)]);
      return { ...rest, maps: Object.fromEntries(whole) };
    };

    const ready = () => {
      if (!model) {
        note.textContent = "Fetching what runs the model (14 MB, once) …";
        model = Promise.all([loadRuntime(), session(data.graphs.encoder), session(data.graphs.decoder)]);
        model.then(
          () => { note.textContent = "The model of this page runs in your browser: nothing you type leaves it."; },
          (reason) => {
            model = null;
            note.textContent = `The model could not be started here (${reason.message}); the examples still work.`;
          });
      }
      return model;
    };

    const translate = async (words, mine) => {
      const [ort, encoder, decoder] = await ready();
      const source = [...words.map((word) => data.source.indexOf(word)), data.eos];
      const { memory, self_attention: own } = await encoder({ source: wholeNumbers(ort, source) });
      const tokens = [data.bos];
      const slow = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 90;
      said.setAttribute("aria-busy", "true"); // a screen reader waits for the whole
      do {
        const out = await decoder({ memory, tokens: wholeNumbers(ort, tokens) });
        if (mine !== turn) return;
        tokens.push(argmax(out.logits.data));
        show({
          read: [...words, data.target[data.eos]],
          written: tokens.slice(1).map((id) => data.target[id]),
          maps: { encoder: own.data, decoder: out.self_attention.data, cross: out.cross_attention.data },
        });
        await pause(slow);
        if (mine !== turn) return;
      } while (tokens.length <= data.maxNew && tokens[tokens.length - 1] !== data.eos);
      said.setAttribute("aria-busy", "false");
    };

    const answer = async (example) => {
      turn += 1;
      complain("");
      try {
        await translate(cut(field.value, data), turn);
      } catch (reason) {
        if (example !== undefined) show(precomputed(example));
        else complain(reason instanceof RangeError ? reason.message : `The model did not answer: ${reason.message}`);
      }
    };

    form.addEventListener("submit", (event) => { event.preventDefault(); answer(); });
    field.addEventListener("focus", () => { ready().catch(() => {}); });
    get("examples").addEventListener("click", (event) => {
      const index = event.target.dataset.example;
      if (index === undefined) return;
      field.value = data.examples[index].text;
      if (fromFile) show(precomputed(index));
      else answer(index);
    });
    kind.addEventListener("change", () => { fillLayers(); draw(); });
    [layer, head].forEach((control) => control.addEventListener("change", draw));

    head.replaceChildren(option("mean", "mean of all"), ...Array.from({ length: data.heads }, (_, i) => option(i, i + 1)));
    fillLayers();
    field.value = data.examples[0].text;
    note.textContent = fromFile
      ? "This page was opened as a file, where a browser may not start the model: these examples were computed when the " +
        "book was built. On a web server (make serve) you can type a sentence of your own."
      : "The examples were computed when the book was built. Type a sentence of your own, and the model answers in your browser.";
    [get("examples"), get("choices"), readout].forEach((part) => { part.hidden = false; });
    form.hidden = fromFile;
    show(precomputed(0));
  };

  // ---- the painter: a generator of images, moved through its latent space ----

  /** The point at `share` of the arc from a to b, as `latent_path` in lectures_lib/visual/gan.py. */
  const onArc = (a, b, share) => {
    const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
    const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    const angle = Math.acos(Math.min(Math.max(cosine, -1), 1));
    if (angle < 1e-4) return a.map((value, i) => value + share * (b[i] - value));
    const [left, right] = [Math.sin((1 - share) * angle), Math.sin(share * angle)];
    return a.map((value, i) => (left * value + right * b[i]) / Math.sin(angle));
  };

  /** Every latent at `share` of its walk, moved by `amounts` of the directions. */
  const moved = ({ starts, ends, directions }, share, amounts) => starts.map((start, n) =>
    onArc(start, ends[n], share).map((value, i) =>
      directions.reduce((sum, direction, k) => sum + amounts[k] * direction[i], value)));

  /** A normal random number from two uniform ones in [0, 1). */
  const normal = (one, other) => Math.sqrt(-2 * Math.log(1 - one)) * Math.cos(2 * Math.PI * other);

  /** Starts the runtime and a graph at the first call, says so in `note`, and tries again after a failure. */
  const onDemand = (note, graph) => {
    let model = null;
    return () => {
      if (!model) {
        note.textContent = "Fetching what runs the generator (14 MB, once) …";
        model = Promise.all([loadRuntime(), session(graph)]);
        model.then(
          () => { note.textContent = "The generator of this page runs in your browser."; },
          (reason) => {
            model = null;
            note.textContent = `The generator could not be started here (${reason.message}).`;
          });
      }
      return model;
    };
  };

  /** Square images in [-1, 1] side by side, ink on paper, from the left end of the canvas. */
  const paintRow = (canvas, values, size, count) => {
    const picture = new ImageData(count * size, size);
    for (let n = 0; n < count; n += 1) {
      for (let y = 0; y < size; y += 1) {
        for (let x = 0; x < size; x += 1) {
          const paper = 255 * (1 - (values[(n * size + y) * size + x] + 1) / 2);
          picture.data.set([paper, paper, paper, 255], 4 * ((y * count + n) * size + x));
        }
      }
    }
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    canvas.getContext("2d").putImageData(picture, 0, 0);
  };

  /** One row of numbers a digit: the latent, and after it the digit's row of the generator's table. */
  const askedFor = ({ latents, table }, number, oneHand) =>
    [...number].map((digit, n) => [...latents[oneHand ? 0 : n], ...table[Number(digit)]]);

  const writer = (root) => {
    const part = (name) => root.querySelector(`[data-${name}]`);
    const data = JSON.parse(part("payload").textContent);
    const [form, note, error, field] = [part("form"), part("note"), part("error"), part("number")];
    const [canvas, still, fresh, hand] = [part("canvas"), part("still"), part("fresh"), part("hand")];
    const ready = onDemand(note, data.graph);
    let drawing = false;
    let again = false; // something changed while the model was busy

    const complain = (text) => { error.textContent = text; error.hidden = false; };

    const draw = async () => {
      const number = field.value.replace(/[^0-9]/g, "").slice(0, data.latents.length);
      if (!number) { complain("Type at least one digit."); return; }
      again = true;
      if (drawing) return;
      drawing = true;
      error.hidden = true;
      try {
        const [ort, run] = await ready();
        while (again) {
          again = false;
          const typed = field.value.replace(/[^0-9]/g, "").slice(0, data.latents.length) || number;
          const rows = askedFor(data, typed, hand.checked);
          const shape = [rows.length, rows[0].length];
          const { images } = await run({ latent: new ort.Tensor("float32", Float32Array.from(rows.flat()), shape) });
          paintRow(canvas, images.data, data.size, rows.length);
          canvas.setAttribute("aria-label", `${typed}, as written by the generator`);
          canvas.hidden = false;
          still.hidden = true;
        }
      } catch (reason) {
        complain(`The generator did not answer: ${reason.message}`);
      }
      drawing = false;
    };

    form.addEventListener("submit", (event) => { event.preventDefault(); draw(); });
    field.addEventListener("change", draw);
    hand.addEventListener("change", draw);
    fresh.addEventListener("click", () => {
      data.latents = data.latents.map((row) => row.map(() => data.scale * normal(Math.random(), Math.random())));
      draw();
    });
    const fromFile = location.protocol === "file:";
    note.textContent = fromFile
      ? "This page was opened as a file, where a browser may not start the generator: these digits were drawn when the " +
        "book was built. On a web server (make serve) a field stands here."
      : "These digits were drawn when the book was built. Ask for a number, and the generator writes it in your browser.";
    form.hidden = fromFile;
  };

  const painter = (root) => {
    const part = (name) => root.querySelector(`[data-${name}]`);
    const data = JSON.parse(part("payload").textContent);
    const [form, note, error] = [part("form"), part("note"), part("error")];
    const [canvas, still, fresh] = [part("canvas"), part("still"), part("fresh")];
    const sliders = [...form.querySelectorAll("input")];
    const walk = sliders[sliders.length - 1];
    let drawing = false;
    let again = false; // a slider moved while the model was busy

    const ready = onDemand(note, data.graph);

    const draw = async () => {
      again = true;
      if (drawing) return;
      drawing = true;
      error.hidden = true;
      try {
        const [ort, run] = await ready();
        while (again) {
          again = false;
          const amounts = sliders.slice(0, -1).map((slider) => Number(slider.value));
          const latents = moved(data, Number(walk.value), amounts);
          const shape = [latents.length, latents[0].length];
          const { images } = await run({ latent: new ort.Tensor("float32", Float32Array.from(latents.flat()), shape) });
          paintRow(canvas, images.data, data.size, latents.length);
          const settings = sliders.map((slider) => `${slider.labels[0].textContent} ${slider.value}`).join(", ");
          canvas.setAttribute("aria-label", `Eight digits; ${settings}`);
          canvas.hidden = false;
          still.hidden = true;
        }
      } catch (reason) {
        error.textContent = `The generator did not answer: ${reason.message}`;
        error.hidden = false;
      }
      drawing = false;
    };

    sliders.forEach((slider) => {
      const tell = () => { slider.nextElementSibling.textContent = slider.value; };
      slider.addEventListener("input", () => { tell(); draw(); });
      tell();
    });
    fresh.addEventListener("click", () => {
      const anew = (rows) => rows.map((row) => row.map(() => normal(Math.random(), Math.random())));
      data.starts = anew(data.starts);
      data.ends = anew(data.ends);
      draw();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    const fromFile = location.protocol === "file:";
    note.textContent = fromFile
      ? "This page was opened as a file, where a browser may not start the generator: these digits were drawn when the " +
        "book was built. On a web server (make serve) sliders stand here."
      : "These digits were drawn when the book was built. Move a slider, and the generator draws in your browser.";
    form.hidden = fromFile;
  };

  // ---- the sampler: the same filters as lectures_lib/inference/sample.py ----

  /** The probabilities that the next token is drawn from. */
  const filtered = (scores, { temperature, topK, topP }) => {
    const most = Math.max(...scores);
    const powers = Array.from(scores, (score) => Math.exp((score - most) / temperature));
    const order = powers.map((_, i) => i).sort((a, b) => powers[b] - powers[a] || a - b).slice(0, topK);
    const all = order.reduce((sum, i) => sum + powers[i], 0);
    const kept = powers.map(() => 0);
    let held = 0;
    for (const i of order) {
      if (held / all >= topP) break;
      kept[i] = powers[i];
      held += powers[i];
    }
    return kept.map((power) => power / held);
  };

  /** A token drawn with these probabilities; `random` lies in [0, 1). */
  const draw = (probabilities, random) => {
    let rest = random;
    let last = 0;
    for (let i = 0; i < probabilities.length; i += 1) {
      if (!probabilities[i]) continue;
      last = i;
      rest -= probabilities[i];
      if (rest < 0) return i;
    }
    return last;
  };

  const sampler = (root) => {
    const part = (name) => root.querySelector(`[data-${name}]`);
    const data = JSON.parse(part("payload").textContent);
    const form = part("form");
    const [field, temperature, topK, topP] = form.querySelectorAll("input");
    const [given, fresh, note, error] = [part("given"), part("new"), part("note"), part("error")];
    const fromFile = location.protocol === "file:";
    let turn = 0; // a newer text stops an older one
    let model = null;
    const number = new Map(data.tokens.map((token, i) => [token, i]).filter(([token]) => token));
    const most = Math.max(...data.tokens.map((token) => token.length));

    const ready = () => {
      if (!model) {
        note.textContent = "Fetching what runs the model (14 MB, once) …";
        model = Promise.all([loadRuntime(), session(data.graph)]);
        model.then(
          () => { note.textContent = "The model of this page runs in your browser: nothing you type leaves it."; },
          (reason) => {
            model = null;
            note.textContent = `The model could not be started here (${reason.message}); the examples still work.`;
          });
      }
      return model;
    };

    const encode = (text) => {
      const ids = []; // the longest token that fits each time
      for (let at = 0; at < text.length;) {
        let end = Math.min(text.length, at + most);
        while (end > at && !number.has(text.slice(at, end))) end -= 1;
        if (end === at) {
          const letter = String.fromCodePoint(text.codePointAt(at));
          throw new RangeError(`The model has never seen “${letter}” (character ${at + 1}).`);
        }
        ids.push(number.get(text.slice(at, end)));
        at = end;
      }
      if (!ids.length) throw new RangeError("Type a beginning first.");
      return ids.slice(-data.context);
    };

    const write = async () => {
      turn += 1;
      const mine = turn;
      error.hidden = true;
      try {
        let ids = encode(field.value);
        const [ort, next] = await ready();
        if (mine !== turn) return;
        given.textContent = field.value;
        fresh.textContent = "";
        fresh.setAttribute("aria-busy", "true"); // a screen reader waits for the whole
        for (let count = 0; count < data.maxNew; count += 1) {
          const { logits } = await next({ tokens: wholeNumbers(ort, ids) });
          if (mine !== turn) return;
          const settings = { temperature: Number(temperature.value), topK: Number(topK.value), topP: Number(topP.value) };
          const token = draw(filtered(logits.data, settings), Math.random());
          fresh.textContent += data.tokens[token];
          ids.push(token);
          if (ids.length > data.context) ids = ids.slice(-Math.max(Math.floor(data.context / 2), 1));
          if (count % 4 === 3) await pause(0);
        }
        fresh.setAttribute("aria-busy", "false");
      } catch (reason) {
        error.textContent = reason instanceof RangeError ? reason.message : `The model did not answer: ${reason.message}`;
        error.hidden = false;
      }
    };

    const precomputed = (index) => {
      turn += 1;
      given.textContent = data.examples[index].text;
      fresh.textContent = data.examples[index].written;
    };

    form.addEventListener("submit", (event) => { event.preventDefault(); write(); });
    field.addEventListener("focus", () => { ready().catch(() => {}); });
    [temperature, topK, topP].forEach((slider) => {
      const tell = () => { slider.nextElementSibling.textContent = slider.value; };
      slider.addEventListener("input", tell);
      tell();
    });
    part("examples").addEventListener("click", (event) => {
      const index = event.target.dataset.example;
      if (index !== undefined) precomputed(index);
    });
    field.value = data.examples[0].text;
    note.textContent = fromFile
      ? "This page was opened as a file, where a browser may not start the model: these examples were computed when the " +
        "book was built. On a web server (make serve) you can type a beginning of your own."
      : "The examples were computed when the book was built. Type a beginning, and the model goes on in your browser.";
    part("examples").hidden = false;
    form.hidden = fromFile;
    precomputed(0);
  };

  return { translator, sampler, painter, writer, askedFor, filtered, draw, moved, normal, session, loadRuntime, wholeNumbers };
})();
