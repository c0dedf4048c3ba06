import releaseSync from '@jitl/quickjs-wasmfile-release-sync';
import {
  newQuickJSWASMModuleFromVariant,
  newVariant,
  type QuickJSContext,
  type QuickJSHandle,
  type QuickJSRuntime,
  type QuickJSSyncVariant,
  type QuickJSWASMModule,
} from 'quickjs-emscripten-core';
import { HARNESS } from './harness.ts';

// Its types are those of its CommonJS form, where the variant is a member of what is imported.
const variant = releaseSync as unknown as QuickJSSyncVariant;

/** Part of the language for long, and of no library of types that is in use here. */
declare const WebAssembly: {
  readonly Memory: new (pages: { readonly initial: number; readonly maximum?: number }) => EngineMemory;
};
interface EngineMemory {
  readonly buffer: ArrayBuffer;
}

export interface SandboxLimits {
  readonly msMax: number;
  readonly memoryBytesMax: number;
  readonly outputBytesMax: number;
}

/** How a codec's function is called: its name, and with it its parameters. The first that a script has is taken.
 *  @source ChirpStack v4 and The Things Stack v3; ChirpStack v3; The Things Network v2 */
export const DECODERS = ['decodeUplink', 'Decode', 'Decoder'] as const;
export const ENCODERS = ['encodeDownlink', 'Encode', 'Encoder'] as const;

/** `value`: what it gave back, as JSON; undefined if that is nothing that JSON can say. */
export type SandboxAnswer =
  | { readonly kind: 'value'; readonly json: string | undefined; readonly logs: readonly string[] }
  | {
      readonly kind: 'failed';
      readonly outcome: 'failed' | 'over_time' | 'over_memory' | 'over_output';
      readonly detail: string;
      readonly logs: readonly string[];
    };

/** The engine's own stack. Below what its WebAssembly has, and what V8 needs for it: beyond, it would break. */
const STACK_SIZE_MAX = 128 * 1_024;
const LOG_LINES_MAX = 100;
const LOG_LINE_CHARS_MAX = 500;
const DETAIL_CHARS_MAX = 500;
/** How long a description of an error may take beyond the time of the run. */
const DESCRIBE_MS_MAX = 10;
/** And what memory beyond that of the run. */
const DESCRIBE_BYTES_MAX = 1_048_576;
/** The engine asks after each 10,000 steps. Where the machine is slow, so many are had even if the time is over: the
 *  limit is one of work. */
const INTERRUPTS_MIN = 30;
/** Time after which even that is over, in times of the limit. */
const PATIENCE = 10;
/** An engine's memory never shrinks, and it is only as sound as the scripts before left it. */
const RUNS_PER_ENGINE_MAX = 5_000;
/** Of WebAssembly; and how many the engine begins with. */
const PAGE_SIZE = 65_536;
const ENGINE_PAGES_MIN = 256;
const ENGINE_SIZE_MIN = ENGINE_PAGES_MIN * PAGE_SIZE;

/** Runs scripts one after the other, each in a runtime of its own that is thrown away with all it made. Nothing of the
 *  host can be reached from within but a function that takes a line of text.
 *  @holds one run at a time */
export class Sandbox {
  readonly #limits: SandboxLimits;
  #engine: QuickJSWASMModule | null = null;
  #memory: EngineMemory = new WebAssembly.Memory({ initial: 0 });
  #runs = 0;

  constructor(limits: SandboxLimits) {
    this.#limits = limits;
  }

  /** @param forms names of the function to call, the first that the script has
   *  @param begins called when the engine is there and the script's own time begins
   *  @throws what the engine itself fails with; it is another one then */
  async run(
    script: string,
    forms: readonly string[],
    input: string,
    begins: () => void = () => {},
  ): Promise<SandboxAnswer> {
    const engine = await this.#sound();
    begins();
    try {
      return new Run(engine, this.#memory, this.#limits).answer(script, forms, input);
    } catch (error) {
      // What the run left behind is not looked at again.
      this.#engine = null;
      throw error;
    }
  }

  async #sound(): Promise<QuickJSWASMModule> {
    if (
      this.#engine === null ||
      this.#runs++ >= RUNS_PER_ENGINE_MAX ||
      this.#memory.buffer.byteLength > ENGINE_SIZE_MIN + this.#limits.memoryBytesMax / 2
    ) {
      // The engine's own limit overlooks large buffers and texts: that of its memory does not.
      this.#memory = new WebAssembly.Memory({
        initial: ENGINE_PAGES_MIN,
        maximum: ENGINE_PAGES_MIN + Math.ceil(this.#limits.memoryBytesMax / PAGE_SIZE),
      });
      this.#engine = await newQuickJSWASMModuleFromVariant(
        newVariant<QuickJSSyncVariant>(variant, { wasmMemory: this.#memory }),
      );
      this.#runs = 1;
    }
    return this.#engine;
  }
}

class Run {
  readonly #limits: SandboxLimits;
  readonly #memory: EngineMemory;
  readonly #runtime: QuickJSRuntime;
  readonly #context: QuickJSContext;
  readonly #logs: string[] = [];
  readonly #startMs = performance.now();
  #interrupts = 0;
  #isOver = false;
  #extraMs = 0;

  constructor(engine: QuickJSWASMModule, memory: EngineMemory, limits: SandboxLimits) {
    this.#memory = memory;
    this.#limits = limits;
    this.#runtime = engine.newRuntime({ memoryLimitBytes: limits.memoryBytesMax, maxStackSizeBytes: STACK_SIZE_MAX });
    this.#runtime.setInterruptHandler(() => this.#interrupt());
    this.#context = this.#runtime.newContext();
  }

  answer(script: string, forms: readonly string[], input: string): SandboxAnswer {
    const context = this.#context;
    const harness = this.#harness();
    const told = this.#call(harness, script, forms, input);
    harness.dispose();
    context.dispose();
    this.#runtime.dispose();
    return told;
  }

  #call(harness: QuickJSHandle, script: string, forms: readonly string[], input: string): SandboxAnswer {
    const context = this.#context;
    const defined = context.evalCode(script, 'codec.js', { type: 'global' });
    if (defined.error) return this.#thrown(harness, defined.error);
    defined.value.dispose();
    for (const form of forms) {
      const found = context.evalCode(`typeof ${form} === 'function' ? ${form} : undefined`);
      if (found.error) return this.#thrown(harness, found.error);
      using codec = found.value;
      if (context.typeof(codec) !== 'function') continue;
      using call = context.getProp(harness, 'call');
      using name = context.newString(form);
      using json = context.newString(input);
      const given = context.callFunction(call, context.undefined, codec, name, json);
      if (given.error) return this.#thrown(harness, given.error);
      return this.#given(given.value);
    }
    return this.#failed('failed', `the script defines no function ${forms[0]}`);
  }

  #given(handle: QuickJSHandle): SandboxAnswer {
    using value = handle;
    const context = this.#context;
    if (context.typeof(value) !== 'string') return { kind: 'value', json: undefined, logs: this.#logs };
    using length = context.getProp(value, 'length');
    const { outputBytesMax } = this.#limits;
    const json = context.getNumber(length) > outputBytesMax ? null : context.getString(value);
    if (json === null || Buffer.byteLength(json) > outputBytesMax)
      return this.#failed('over_output', `what it gives back is larger than ${outputBytesMax} bytes`);
    return { kind: 'value', json, logs: this.#logs };
  }

  #thrown(harness: QuickJSHandle, handle: QuickJSHandle): SandboxAnswer {
    using error = handle;
    if (this.#isOver) return this.#failed('over_time', `it takes longer than ${this.#limits.msMax} ms`);
    const detail =
      this.#describe(harness, error) ?? (this.#isFull() ? 'out of memory' : 'it throws what cannot be shown');
    const { memoryBytesMax } = this.#limits;
    return /\bout of memory\b/.test(detail)
      ? this.#failed('over_memory', `it needs more memory than ${memoryBytesMax} bytes`)
      : this.#failed('failed', detail);
  }

  #failed(outcome: 'failed' | 'over_time' | 'over_memory' | 'over_output', detail: string): SandboxAnswer {
    return { kind: 'failed', outcome, detail, logs: this.#logs };
  }

  /** What was thrown may be anything, also something that throws when it is looked at. */
  #describe(harness: QuickJSHandle, error: QuickJSHandle): string | null {
    const context = this.#context;
    this.#extraMs = performance.now() - this.#startMs + DESCRIBE_MS_MAX;
    this.#runtime.setMemoryLimit(this.#limits.memoryBytesMax + DESCRIBE_BYTES_MAX);
    using describe = context.getProp(harness, 'describe');
    const described = context.callFunction(describe, context.undefined, error);
    if (described.error) {
      described.error.dispose();
      return null;
    }
    using text = described.value;
    return context.typeof(text) === 'string' ? context.getString(text).slice(0, DETAIL_CHARS_MAX) : null;
  }

  #isFull(): boolean {
    return this.#memory.buffer.byteLength >= ENGINE_SIZE_MIN + this.#limits.memoryBytesMax;
  }

  #harness(): QuickJSHandle {
    const context = this.#context;
    using make = context.unwrapResult(context.evalCode(HARNESS, 'harness.js'));
    using sink = context.newFunction('sink', (line) => {
      if (this.#logs.length < LOG_LINES_MAX) this.#logs.push(context.getString(line).slice(0, LOG_LINE_CHARS_MAX));
    });
    return context.unwrapResult(context.callFunction(make, context.undefined, sink));
  }

  #interrupt(): boolean {
    this.#interrupts++;
    const spentMs = performance.now() - this.#startMs;
    const msMax = this.#limits.msMax;
    const isOver =
      this.#extraMs > 0
        ? spentMs > this.#extraMs
        : spentMs > msMax && (this.#interrupts > INTERRUPTS_MIN || spentMs > msMax * PATIENCE);
    if (isOver) this.#isOver = true;
    return isOver;
  }
}
