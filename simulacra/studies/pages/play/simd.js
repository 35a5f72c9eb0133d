// Matrix products in WebAssembly with vectors of four numbers. The module is put together here, byte
// by byte, from a list of instructions, so that it can be read and nothing binary is kept.

const CODES = {
  block: [0x02, 0x40], loop: [0x03, 0x40], end: [0x0b], br_if: [0x0d], get: [0x20], set: [0x21], tee: [0x22],
  const: [0x41], "i32.ge_s": [0x4e], "i32.lt_s": [0x48], "i32.add": [0x6a], "i32.mul": [0x6c], "i32.shl": [0x74],
  "f32.add": [0x92], "f32.store": [0x38, 2, 0],
  load: [0xfd, 0x00, 2], splat: [0xfd, 0x09, 2], store: [0xfd, 0x0b, 2], // each followed by an offset in bytes
  zero: [0xfd, 0x0c, ...new Array(16).fill(0)], lane: [0xfd, 0x1f], add: [0xfd, 0xe4, 0x01], mul: [0xfd, 0xe6, 0x01],
};
const I32 = 0x7f, V128 = 0x7b;

/** An unsigned number as LEB128. */
function leb(n) {
  const out = [];
  do {
    out.push((n & 127) | (n > 127 ? 128 : 0));
    n >>>= 7;
  } while (n);
  return out;
}

/** A signed one. */
function signed(n) {
  const out = [];
  for (;;) {
    const low = n & 127;
    n >>= 7;
    if ((n === 0 && !(low & 64)) || (n === -1 && low & 64)) return [...out, low];
    out.push(low | 128);
  }
}

/** The bytes of instructions like "get pa" or "load 16"; names are those of arguments and locals. */
function assemble(lines, names) {
  const bytes = [];
  for (const line of lines.flat(9)) {
    const [name, what] = line.split(" ");
    bytes.push(...CODES[name]);
    if (what === undefined) continue;
    if (name === "const") bytes.push(...signed(+what));
    else bytes.push(...leb(names.includes(what) ? names.indexOf(what) : +what));
  }
  return bytes;
}

const vector = (bytes) => [...leb(bytes.length), ...bytes];
const section = (id, items) => [id, ...vector([...leb(items.length), ...items.flat()])];
const word = (text) => vector([...new TextEncoder().encode(text)]);

/** A function of integers: arguments, further integers, vectors, instructions. */
function body(args, integers, vectors, lines) {
  const code = assemble(lines, [...args, ...integers, ...vectors]);
  return vector([2, ...leb(integers.length), I32, ...leb(vectors.length), V128, ...code, 0x0b]);
}

/** `name` += a number, or another local. */
const plus = (name, by) => [`get ${name}`, Number.isInteger(by) ? `const ${by}` : `get ${by}`, "i32.add", `set ${name}`];

/** The instructions again and again while `name`, which grows by `by` each time, is below `most`. */
const count = (name, most, by, inside) => [
  "const 0", `set ${name}`, "block", `get ${name}`, `get ${most}`, "i32.ge_s", "br_if 0",
  "loop", inside, plus(name, by), `get ${name}`, `get ${most}`, "i32.lt_s", "br_if 0", "end", "end",
];

/** C (rows, cols) = A B. A (rows, depth) lies in blocks of four rows, their numbers of one column side
 * by side; B (depth, cols) row by row. rows are a multiple of 4, cols of 8. Eight columns of B are
 * first copied to `room`, where they are read again for every four rows, in sixteen sums a time. */
function product() {
  const args = ["a", "b", "c", "room", "rows", "cols", "depth"];
  const integers = ["i", "j", "k", "pa", "pb", "pc", "pr", "line"];
  const sums = Array.from({ length: 8 }, (_, n) => `s${n}`);
  const step = (r) => [
    "get pa", `splat ${4 * r}`, "tee x", "get y0", "mul", `get s${2 * r}`, "add", `set s${2 * r}`,
    "get x", "get y1", "mul", `get s${2 * r + 1}`, "add", `set s${2 * r + 1}`,
  ];
  const keep = (r) => ["get pc", `get s${2 * r}`, "store 0", "get pc", `get s${2 * r + 1}`, "store 16", plus("pc", "line")];
  const each = [0, 1, 2, 3];
  const lines = [
    "get cols", "const 2", "i32.shl", "set line",
    count("j", "cols", 8, [
      "get b", "get j", "const 2", "i32.shl", "i32.add", "set pb", "get room", "set pr",
      count("k", "depth", 1, [
        "get pr", "get pb", "load 0", "store 0", "get pr", "get pb", "load 16", "store 16", plus("pr", 32), plus("pb", "line"),
      ]),
      "get a", "set pa",
      count("i", "rows", 4, [
        sums.map((s) => ["zero", `set ${s}`]), "get room", "set pr",
        count("k", "depth", 1, [
          "get pr", "load 0", "set y0", "get pr", "load 16", "set y1", each.map(step), plus("pr", 32), plus("pa", 16),
        ]),
        "get c", "get i", "get line", "i32.mul", "i32.add", "get j", "const 2", "i32.shl", "i32.add", "set pc",
        each.map(keep),
      ]),
    ]),
  ];
  return body(args, integers, [...sums, "x", "y0", "y1"], lines);
}

/** y (rows) = A x. A (rows, depth) lies row by row; rows and depth are multiples of 4. */
function applied() {
  const args = ["a", "x", "y", "rows", "depth"];
  const integers = ["i", "k", "p0", "p1", "p2", "p3", "px", "line"];
  const step = (r) => [`get p${r}`, "load 0", "get v", "mul", `get s${r}`, "add", `set s${r}`, plus(`p${r}`, 16)];
  const sum = (r) => [
    "get y", [0, 1, 2, 3].map((n) => [`get s${r}`, `lane ${n}`]), "f32.add", "f32.add", "f32.add", "f32.store", plus("y", 4),
  ];
  const each = [0, 1, 2, 3];
  const lines = [
    "get depth", "const 2", "i32.shl", "set line", "get a", "set p3",
    count("i", "rows", 4, [
      "get p3", "set p0", each.slice(1).map((r) => [`get p${r - 1}`, "get line", "i32.add", `set p${r}`]),
      each.map((r) => ["zero", `set s${r}`]), "get x", "set px",
      count("k", "depth", 4, ["get px", "load 0", "set v", each.map(step), plus("px", 16)]),
      each.map(sum),
    ]),
  ];
  return body(args, integers, ["s0", "s1", "s2", "s3", "v"], lines);
}

/** {product, applied} over a memory, or null where the browser has no such vectors. */
function vectors(memory) {
  const kind = (args) => [0x60, ...vector(new Array(args).fill(I32)), 0];
  const bytes = [
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, [kind(7), kind(5)]),
    ...section(2, [[...word("page"), ...word("memory"), 2, 0, 1]]),
    ...section(3, [[0], [1]]),
    ...section(7, [[...word("product"), 0, 0], [...word("applied"), 0, 1]]),
    ...section(10, [product(), applied()]),
  ];
  try {
    const module = new WebAssembly.Module(new Uint8Array(bytes));
    return new WebAssembly.Instance(module, { page: { memory } }).exports;
  } catch (error) {
    console.info(`no vectors here (${error.message}); plain JavaScript computes`);
    return null;
  }
}
