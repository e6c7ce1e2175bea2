// The page: choose, order, and watch. No library: what the server says is put into the document, as text and never
// as markup. Every event of an order carries all its steps, so the newest one is all there is to draw.

const $ = (id) => document.getElementById(id);

const STEPS = [
  { step: "create", name: "Order written down", undone: "Order cancelled" },
  { step: "reserve", name: "Items set aside", undone: "Items put back" },
  { step: "pay", name: "Payment", undone: "Money given back" },
  { step: "ship", name: "Handed to the carrier", undone: "" },
];

const STATES = {
  accepted: "accepted",
  running: "on its way",
  compensating: "turning back",
  stuck: "needs a person",
  completed: "completed",
  compensated: "turned back",
  rejected: "rejected",
  abandoned: "abandoned",
};

const ENDS = ["completed", "compensated", "rejected", "abandoned"];

const STORIES = [
  { name: "All goes well", items: { kettle: 1, mug: 2 }, card: "card-ok", address: "1 Harbour Street" },
  { name: "Card is declined", items: { teapot: 1 }, card: "card-declined", address: "1 Harbour Street" },
  { name: "Nobody can deliver", items: { kettle: 1 }, card: "card-ok", address: "Nowhere, end of the road" },
  { name: "Sold out", items: { mug: 1, unicorn: 1 }, card: "card-ok", address: "1 Harbour Street" },
  { name: "Bank stays silent", items: { mug: 4 }, card: "card-silent", address: "1 Harbour Street" },
];

let products = [];
let chosen = {};
let pending = null; // a request whose outcome is not known: it is repeated under its key
let stream = null;
let shown = "";
let started = 0;
let following = null;

// ------------------------------------------------------------------ small things

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const use = document.createElementNS(space, "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

function key() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

function took(from, to) {
  const ms = Math.max(0, Date.parse(to) - Date.parse(from));
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}

// Cents as whole numbers: 0.1 + 0.2 is not a price.
const cents = (text) => {
  const [whole, part = ""] = text.split(".");
  return Number(whole) * 100 + Number(part.padEnd(2, "0"));
};
const amount = (value) => `${Math.floor(value / 100)}.${String(value % 100).padStart(2, "0")}`;
const total = () => products.reduce((sum, p) => sum + cents(p.price) * (chosen[p.product_id] || 0), 0);

// ------------------------------------------------------------------ choosing

function drawStories() {
  for (const story of STORIES) {
    const chip = make("button", "chip", story.name);
    chip.type = "button";
    chip.addEventListener("click", () => choose(story));
    $("stories").append(chip);
  }
}

function choose(story) {
  chosen = { ...story.items };
  $("card").value = story.card;
  $("address").value = story.address;
  changed();
}

function drawProducts() {
  for (const product of products.filter((p) => p.product_id !== "123")) {
    const row = make("li", "product");
    row.dataset.product = product.product_id;
    const words = make("div");
    const note = make("div", "product-note");
    note.append(make("span", "price", product.price), product.note);
    words.append(make("div", "product-name", product.name), note);
    const stepper = make("div", "stepper");
    const less = make("button", "", "−");
    const more = make("button", "", "+");
    const count = make("input");
    for (const [button, by, what] of [[less, -1, "One less"], [more, 1, "One more"]]) {
      button.type = "button";
      button.setAttribute("aria-label", `${what}: ${product.name}`);
      button.addEventListener("click", () => set(product.product_id, (chosen[product.product_id] || 0) + by));
    }
    count.type = "number";
    count.min = "0";
    count.max = "99";
    count.inputMode = "numeric";
    count.setAttribute("aria-label", `How many: ${product.name}`);
    count.addEventListener("change", () => set(product.product_id, Number(count.value)));
    stepper.append(less, count, more);
    row.append(icon(product.product_id), words, stepper);
    $("products").append(row);
  }
}

function set(product, count) {
  chosen[product] = Math.min(99, Math.max(0, Math.floor(count) || 0));
  changed();
}

function changed() {
  pending = null; // another order is another request
  for (const row of $("products").children) {
    const count = chosen[row.dataset.product] || 0;
    row.classList.toggle("chosen", count > 0);
    row.querySelector("input").value = count;
    row.querySelector("button").disabled = count === 0;
  }
  $("total").textContent = amount(total());
  for (const [number, chip] of [...$("stories").children].entries()) {
    const story = STORIES[number];
    const same = products.every((p) => (chosen[p.product_id] || 0) === (story.items[p.product_id] || 0));
    const fits = same && $("card").value === story.card && $("address").value === story.address;
    chip.setAttribute("aria-pressed", String(fits));
  }
  complain({});
}

// ------------------------------------------------------------------ ordering

function complain(wrong) {
  for (const name of ["items", "card", "address"]) {
    $(`wrong-${name}`).textContent = wrong[name] || "";
    $(`wrong-${name}`).hidden = !wrong[name];
    if ($(name)) $(name).setAttribute("aria-invalid", String(Boolean(wrong[name])));
  }
  $("wrong").textContent = wrong.all || "";
  $("wrong").hidden = !wrong.all;
}

async function place(event) {
  event.preventDefault();
  complain({});
  const items = Object.entries(chosen).filter(([, n]) => n > 0).map(([product_id, quantity]) => ({ product_id, quantity }));
  if (!items.length) {
    complain({ items: "Choose at least one thing." });
    return;
  }
  const order = { items, card: $("card").value, address: $("address").value, total: amount(total()) };
  pending = pending || { key: key(), order };
  $("place").disabled = true;
  try {
    await send(pending);
  } catch (error) {
    // Whether it arrived is not known: the button sends the same request under the same key.
    complain({ all: "The shop could not be reached. Press again: the order is placed once, however often you try." });
  } finally {
    $("place").disabled = false;
  }
}

async function send(request) {
  const answer = await fetch("/orders", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": request.key },
    body: JSON.stringify(request.order),
  });
  const said = await answer.json();
  if (answer.status === 202) {
    pending = null;
    location.hash = `order=${said.order_id}`;
    $("story").focus({ preventScroll: true });
    if (matchMedia("(max-width: 900px)").matches) $("story").scrollIntoView({ block: "start" });
    return;
  }
  if (answer.status < 500 && answer.status !== 429) pending = null;
  const wrong = { all: said.errors ? "" : said.detail };
  for (const { pointer, detail } of said.errors || []) {
    const name = pointer.split("/")[1];
    if (["items", "card", "address"].includes(name)) wrong[name] = detail;
    else wrong.all = detail;
  }
  complain(wrong);
}

// ------------------------------------------------------------------ watching

function watch(order) {
  if (stream) stream.close();
  shown = order;
  started = 0;
  $("nothing").hidden = true;
  $("told").hidden = false;
  $("verdict").hidden = true;
  $("order-id").textContent = order;
  $("order-sum").textContent = "";
  $("log").replaceChildren();
  $("spoken").textContent = "";
  draw({ state: "accepted", steps: [], cause: "" });
  mark();
  describe(order);
  stream = new EventSource(`/orders/${encodeURIComponent(order)}/events`);
  const mine = stream;
  mine.addEventListener("order", (event) => {
    const told = JSON.parse(event.data);
    if (told.order_id === shown) hear(told);
  });
  mine.addEventListener("end", () => {
    mine.close();
    describe(order);
    list();
  });
}

function hear(told) {
  started = started || Date.parse(told.at);
  draw(told);
  const line = make("li");
  line.append(make("time", "", `+${((Date.parse(told.at) - started) / 1000).toFixed(3)} s`), make("span", "", told.words));
  $("log").append(line);
  $("spoken").textContent = told.words;
}

async function describe(order) {
  const answer = await fetch(`/orders/${encodeURIComponent(order)}`);
  if (order !== shown) return;
  if (answer.status === 404) {
    $("told").hidden = true;
    $("state").hidden = true;
    $("nothing").hidden = false;
    $("nothing").textContent = `There is no order ${order}.`;
    if (stream) stream.close();
    return;
  }
  if (!answer.ok) return;
  const found = await answer.json();
  const things = (found.items || []).map((item) => `${item.quantity} × ${item.name}`).join(", ");
  $("order-sum").textContent = things ? `${things} for ${found.total}` : `for ${found.total}`;
  if (ENDS.includes(found.state)) draw(found);
}

function draw(order) {
  $("state").hidden = false;
  $("state").dataset.state = order.state;
  $("state").textContent = STATES[order.state] || order.state;
  const asked = (step, operation) => order.steps.find((s) => s.step === step && s.operation === operation);
  const undone = STEPS.filter(({ step }) => asked(step, "undo"));
  $("track").classList.toggle("turning", undone.length > 0);
  $("track").replaceChildren(
    ...STEPS.map((station) => {
      const doing = asked(station.step, "do");
      const undoing = asked(station.step, "undo");
      const drawn = make("li", "station");
      drawn.dataset.step = station.step;
      drawn.dataset.do = doing ? doing.outcome || "waiting" : "not-yet";
      drawn.classList.toggle("asked", Boolean(doing));
      drawn.append(stop("do", station.step, station.name, doing));
      if (undoing) {
        drawn.dataset.undo = undoing.outcome || "waiting";
        drawn.classList.add("turned");
        drawn.classList.toggle("turns", station === undone.at(-1));
      }
      drawn.append(stop("undo", "undo", station.undone, undoing));
      return drawn;
    }),
  );
  const ended = verdict(order);
  $("verdict").hidden = !ended;
  $("verdict").textContent = ended;
  $("verdict").dataset.state = order.state;
}

function stop(operation, picture, name, step) {
  const made = make("div", `stop ${operation}`);
  if (operation === "undo" && !step) made.setAttribute("aria-hidden", "true");
  const disc = make("span", "disc");
  disc.append(icon(picture));
  made.append(disc, make("span", "name", name), make("span", "said", saying(step)));
  return made;
}

function saying(step) {
  if (!step) return "";
  if (!step.outcome) return "asked, waiting";
  const after = step.answered_at ? took(step.asked_at, step.answered_at) : "";
  if (step.outcome === "ok") return step.operation === "do" ? `done in ${after}` : `undone in ${after}`;
  if (step.outcome === "refused") return step.why || "refused";
  return step.why || "no answer in time";
}

function verdict(order) {
  switch (order.state) {
    case "completed":
      return `Everything is done and your parcel is on its way.${order.tracking ? ` Tracking number ${order.tracking}.` : ""}`;
    case "compensated":
      return `Turned back: ${order.cause}. Whatever had been done is undone, and you have paid nothing.`;
    case "rejected":
      return `Not taken: ${order.cause}. Nothing was done.`;
    case "stuck":
      return "One of the services cannot say what happened. A person looks at it now.";
    case "abandoned":
      return "A person has closed this order as it stands.";
    default:
      return "";
  }
}

// ------------------------------------------------------------------ recent orders

async function list(more) {
  const state = $("filter").value;
  const address = more || `/orders?limit=8${state ? `&state=${state}` : ""}`;
  const answer = await fetch(address);
  if (!answer.ok) return;
  const page = await answer.json();
  const rows = page.orders.map(row);
  if (more) $("recent").append(...rows);
  else $("recent").replaceChildren(...rows);
  following = page.next;
  $("more").hidden = !following;
  $("none").hidden = $("recent").children.length > 0;
  mark();
}

function row(order) {
  const made = make("li");
  const link = make("a");
  link.href = `#order=${encodeURIComponent(order.order_id)}`;
  link.dataset.order = order.order_id;
  const badge = make("span", "badge", STATES[order.state] || order.state);
  badge.dataset.state = order.state;
  const when = make("time", "when", new Date(order.placed_at).toLocaleTimeString());
  when.dateTime = order.placed_at;
  link.append(when, make("span", "why", order.cause || `No. ${order.order_id.slice(-12)}`), make("span", "sum", order.total), badge);
  made.append(link);
  return made;
}

function mark() {
  for (const link of $("recent").querySelectorAll("a")) link.setAttribute("aria-current", String(link.dataset.order === shown));
}

// ------------------------------------------------------------------ the rest

async function health() {
  let status = "failing";
  try {
    status = (await (await fetch("/health/ready")).json()).status;
  } catch (error) {
    status = "failing";
  }
  $("link").dataset.is = status;
  $("link").textContent = status === "ok" ? "open" : "open: orders are carried out later";
}

function follow() {
  const found = /^#order=([^&]+)$/.exec(location.hash);
  if (found) watch(decodeURIComponent(found[1]));
}

async function begin() {
  drawStories();
  products = (await (await fetch("/products")).json()).products;
  drawProducts();
  choose(STORIES[0]);
  $("order").addEventListener("submit", place);
  $("card").addEventListener("change", changed);
  $("address").addEventListener("input", changed);
  $("filter").addEventListener("change", () => list());
  $("more").addEventListener("click", () => list(following));
  addEventListener("hashchange", follow);
  follow();
  await Promise.all([list(), health()]);
  // Others order too: the first page is asked for again, unless somebody is reading further down.
  setInterval(() => document.hidden || $("recent").children.length > 8 || list(), 3000);
  setInterval(() => document.hidden || health(), 10000);
}

begin();
