import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { codecOf, startCodecs } from '../testing/codecs.ts';

let started: Awaited<ReturnType<typeof startCodecs>>;
beforeEach(async () => {
  // Long enough that on a slow machine memory is exhausted before it.
  started = await startCodecs({ MILLRACE_CODECS_MS_MAX: 300 });
});
afterEach(() => started.stop());

const input = { bytes: Uint8Array.of(1, 2), fPort: 1, variables: {} };
const decode = (script: string) => started.codecs.decode(codecOf(script), input);
const body = (code: string) => decode(`function decodeUplink(input) { ${code} }`);
const innocent = () => body('return { data: { sum: input.bytes[0] + input.bytes[1] } }');
const works = { kind: 'decoded', data: { sum: 3 } };

describe('a hostile script', { timeout: 120_000 }, () => {
  test.each([
    ['loops for ever', 'while (true);', 'it takes longer than 300 ms'],
    ['loops where it catches all', 'for (;;) try { for (;;); } catch {}', 'it takes longer than 300 ms'],
    ['loops while it is defined', '} while (true); {', 'it takes longer than 300 ms'],
    ['matches for ever', 'return { data: /^(a+)+$/.test("a".repeat(40) + "b") }', 'it takes longer than 300 ms'],
    [
      'loops in what its answer is shown by',
      'return { data: { toJSON() { for (;;); } } }',
      'it takes longer than 300 ms',
    ],
    ['loops in what its error is shown by', 'throw { toString() { for (;;); } }', null],
    [
      'swallows memory',
      'const held = []; for (;;) held.push(new Uint8Array(100000));',
      'it needs more memory than 8388608 bytes',
    ],
    [
      'swallows memory as text',
      'const held = []; for (;;) held.push("x".repeat(100000) + held.length);',
      'it needs more memory than 8388608 bytes',
    ],
    [
      'swallows memory and catches all',
      'const held = []; for (;;) try { held.push(new Uint8Array(100000)) } catch {}',
      'it takes longer than 300 ms',
    ],
    ['asks for more than there is', 'return { data: new ArrayBuffer(1e9).byteLength }', null],
    ['doubles a text', 'let t = "x"; for (;;) t += t;', null],
    ['recurses', 'return decodeUplink(input)', 'InternalError: stack overflow'],
    [
      'nests its answer',
      'let o = 1; for (let i = 0; i < 100; i++) o = [o]; return { data: o }',
      'its data is nested deeper than 32',
    ],
    ['nests it beyond all', 'let o = 1; for (let i = 0; i < 20000; i++) o = [o]; return { data: o }', null],
    ['gives back too much', 'return { data: "x".repeat(70000) }', 'what it gives back is larger than 65536 bytes'],
    ['gives back too many bytes of text', 'return { data: "é".repeat(40000) }', null],
    ['gives back itself', 'const o = {}; o.o = o; return { data: o }', null],
    ['gives back nothing', '', 'it gives back no object; { data: … } is wanted'],
    ['gives back a number', 'return 1', 'it gives back no object; { data: … } is wanted'],
    ['gives back no data', 'return {}', 'it gives back no data'],
    ['gives back a large integer', 'return { data: 1n }', null],
    ['throws', 'return { data: nothing.at.all }', "ReferenceError: 'nothing' is not defined (line 1)"],
    ['throws null', 'throw null', 'null'],
    ['throws what throws', 'throw { toString() { throw 1 } }', 'it throws what cannot be shown'],
    ['is no script', '%%%', null],
    ['awaits', 'return Promise.resolve({ data: 1 })', 'TypeError: a codec answers at once: it may not be async'],
    ['waits for another thread', 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)', null],
  ])('that %s fails, and the next one works', async (_, code, detail) => {
    const told = await body(code);
    expect(told).toMatchObject({ kind: 'failed', detail: expect.any(String) });
    if (detail !== null && told.kind === 'failed') {
      expect(told.detail).toContain(detail);
    }
    expect(await innocent()).toMatchObject(works);
  });

  test('reaches nothing of the host', async () => {
    const names = 'process require module global fetch setTimeout std os Deno Bun WebAssembly Buffer XMLHttpRequest';
    const told = await body(`
      const found = [];
      for (const name of ${JSON.stringify(names.split(' '))}) if (typeof globalThis[name] !== 'undefined') found.push(name);
      for (const value of [console.log, input, input.bytes, console, decodeUplink])
        for (const code of ['return typeof process', 'return typeof require', 'return typeof std'])
          found.push(value.constructor.constructor(code)());
      return { data: found }`);
    expect(told).toMatchObject({ kind: 'decoded', data: Array.from({ length: 15 }, () => 'undefined') });
    expect(await body('return { data: input.constructor.constructor("return this")() === globalThis }')).toMatchObject({
      data: true,
    });
  });

  test('leaves nothing behind for the next run, not even for its own', async () => {
    const spoil = codecOf(`
      globalThis.count = (globalThis.count || 0) + 1;
      Object.prototype.polluted = 1; Array.prototype.push = () => { throw 1 };
      JSON.stringify = () => '{"data":"forged"}'; JSON.parse = () => ({}); Date = 1; console.log = null;
      function decodeUplink(input) { return { data: { count, n: input.bytes.length } } }`);
    for (let run = 0; run < 3; run++)
      expect(await started.codecs.decode(spoil, input)).toMatchObject({ data: { count: 1, n: 2 } });
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect(
      await body('return { data: [typeof polluted, typeof count, [].push(1), JSON.stringify([1]), typeof Date] }'),
    ).toMatchObject({ data: ['undefined', 'undefined', 1, '[1]', 'function'] });
  });

  test('cannot give a prototype along with its data', async () => {
    const told = await body(`return { data: JSON.parse('{"a":{"__proto__":{"admin":true},"b":1}}') }`);
    expect(told).toMatchObject({ kind: 'decoded' });
    const data = (told as { data: { a: object } }).data;
    expect(Object.getOwnPropertyNames(data.a)).toEqual(['b']);
    expect(Object.getPrototypeOf(data.a)).toBe(Object.prototype);
  });

  test('has its jobs thrown away: what it leaves to be done later never is', async () => {
    const told = await body(
      'Promise.resolve().then(() => { for (;;); }); (async () => { await 0; for (;;); })(); return { data: 1 }',
    );
    expect(told).toMatchObject({ kind: 'decoded', data: 1 });
    expect(await innocent()).toMatchObject(works);
  });

  test('logs a bounded number of bounded lines', async () => {
    const told = await body('for (let i = 0; i < 1000; i++) console.log("x".repeat(1000)); return { data: 1 }');
    expect(told.logs).toHaveLength(100);
    expect(told.logs[0]).toHaveLength(500);
  });

  test('fails when it or its input is too large to be handed over', async () => {
    expect(await decode(`${' '.repeat(600_000)}function decodeUplink() { return { data: 1 } }`)).toMatchObject({
      kind: 'failed',
      detail: 'the script or its input is too large',
    });
  });

  test('works on, a thousand times after another, in bounded memory', async () => {
    for (let run = 0; run < 1_000; run++) {
      const told = run % 50 === 0 ? await body('return decodeUplink(input)') : await innocent();
      if (run % 50 !== 0) expect(told).toMatchObject(works);
    }
  });
});
