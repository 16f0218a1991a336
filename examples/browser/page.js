// The form of index.html, and where the key of a purchase is kept.
import { purchase } from "./buyer.js";
import { isEnd } from "./patience.js";

const form = document.querySelector("form");

const say = (line) => {
  console.log(line);
  document.querySelector("output").append(`${line}\n`);
};

form.onsubmit = async (event) => {
  event.preventDefault();
  const wanted = Object.fromEntries(new FormData(form));
  // Kept until the answer is known, whatever becomes of the page: a reload finds the same order.
  const kept = `key of ${wanted.email} for ${wanted.skuId}`;
  wanted.idempotencyKey = localStorage[kept] ??= crypto.randomUUID();
  try {
    await purchase(wanted, say);
  } catch (refused) {
    if (!isEnd(refused)) throw refused;
  }
  delete localStorage[kept];
};

// A link may fill the form and press the button: no server sees what stands behind the #.
const link = new URLSearchParams(location.hash.slice(1));
for (const input of form.elements) input.value = link.get(input.name) ?? input.value;
if (link.has("buy")) form.requestSubmit();
