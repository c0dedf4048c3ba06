import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { workDirectory } from '../directory.ts';
import { BenchError } from '../errors.ts';
import { type ProductNode, startNode } from '../product.ts';
import { machineFacts, reportedEnvironment } from '../report.ts';
import { median, quantile } from '../statistics.ts';
import { BareEngine } from './bare-engine.ts';
import { type Filled, fill } from './fill.ts';
import type { AskingOptions } from './options.ts';
import { questionsOf, type TypicalQuestion } from './questions.ts';
import type { AskedQuestion, AskingReport, Times } from './report.ts';

/** By whom a question was answered, and in what times.  @units ms */
interface Measured {
  readonly cold: number[];
  readonly warm: number[];
  last: readonly number[];
}
type Ask = (question: TypicalQuestion) => Promise<{ readonly ms: number; readonly answer: readonly number[] }>;

/** What we may cost on top of the engine: so many ms, or so many times as much. */
const EXTRA_MS_MAX = 5;
const RATIO_MAX = 1.3;

/** Fills, without asking. */
export async function runFill(options: AskingOptions, progress: (line: string) => void): Promise<AskingReport> {
  const { directory, readings, signal } = options;
  if (directory === null) throw new BenchError('USAGE', 'never', { problem: 'fill needs --directory' });
  return reportOf(options, await fill(directory, readings, progress, signal), [], false);
}

/** Asks the product and the bare engine the same, in turn; their answers must agree.
 *  @throws BenchError SETUP_FAILED where they do not */
export async function runAsking(options: AskingOptions, progress: (line: string) => void): Promise<AskingReport> {
  const { readings, rounds, signal } = options;
  const work = options.directory === null ? await workDirectory() : null;
  try {
    const filled = await fill(options.directory ?? work?.path ?? '', readings, progress, signal);
    const engineDirectory = join(filled.directory, 'clickhouse');
    // The schema may have grown since it was filled.
    await (await startNode({ data: filled })).stop();
    const product = new Map<string, Measured>();
    const bare = new Map<string, Measured>();
    let questions: TypicalQuestion[] = [];
    let dropped = true;
    for (let round = 0; round < rounds; round++) {
      const engine = new BareEngine(engineDirectory);
      try {
        if (questions.length === 0) questions = await questionsOf(filled, engine);
        dropped = (await dropPageCache()) && dropped;
        await measure(options, questions, bare, askEngine(engine), (name) =>
          progress(`round ${round + 1} of ${rounds}, the engine itself: ${name}`),
        );
      } finally {
        await engine.stop();
      }
      const node = await startNode({ data: filled });
      try {
        dropped = (await dropPageCache()) && dropped;
        await measure(options, questions, product, await askProduct(node, filled), (name) =>
          progress(`round ${round + 1} of ${rounds}, Millrace: ${name}`),
        );
      } finally {
        await node.stop();
      }
    }
    const asked = questions.map(({ name }) => compare(name, product.get(name), bare.get(name)));
    return reportOf(options, filled, asked, dropped);
  } finally {
    await work?.remove();
  }
}

async function measure(
  { repeatsMax, repeatMsMax, signal }: AskingOptions,
  questions: readonly TypicalQuestion[],
  into: Map<string, Measured>,
  ask: Ask,
  tell: (name: string) => void,
): Promise<void> {
  for (const question of questions) {
    signal?.throwIfAborted();
    tell(question.name);
    const measured = into.get(question.name) ?? { cold: [], warm: [], last: [] };
    into.set(question.name, measured);
    const first = await ask(question);
    measured.cold.push(first.ms);
    measured.last = first.answer;
    const end = performance.now() + repeatMsMax;
    for (let repeat = 0; repeat < repeatsMax && performance.now() < end; repeat++)
      measured.warm.push((await ask(question)).ms);
  }
}

const askEngine =
  (engine: BareEngine): Ask =>
  async ({ sql, bare }) => {
    const { ms, rows } = await engine.ask(sql);
    return { ms, answer: bare(rows) };
  };

async function askProduct(node: ProductNode, { password }: Filled): Promise<Ask> {
  const token = await logIn(node.url, password);
  return async ({ request: { method, path, body }, answer }) => {
    const start = performance.now();
    const response = await fetch(node.url + path, {
      method,
      // Plain SQL is not packed either.
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'accept-encoding': 'identity' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const ms = performance.now() - start;
    if (!response.ok)
      throw new BenchError('SETUP_FAILED', 'never', { problem: `${method} ${path}`, status: response.status, text });
    return { ms, answer: answer(JSON.parse(text) as never) };
  };
}

async function logIn(url: string, password: string): Promise<string> {
  const response = await fetch(`${url}/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'bench@millrace.local', password }),
  });
  return ((await response.json()) as { token: string }).token;
}

function compare(name: string, product: Measured | undefined, bare: Measured | undefined): AskedQuestion {
  if (product === undefined || bare === undefined)
    throw new BenchError('SETUP_FAILED', 'never', { problem: `not asked: ${name}` });
  const agrees =
    product.last.length === bare.last.length &&
    product.last.every((value, index) => isNear(value, bare.last[index] ?? Number.NaN));
  if (!agrees) {
    const problem = `the answers to "${name}" differ`;
    throw new BenchError('SETUP_FAILED', 'never', {
      problem,
      ours: summary(product.last),
      engine: summary(bare.last),
    });
  }
  const [ours, theirs] = [timesOf(product), timesOf(bare)];
  const bound = Math.max(theirs.p50 + EXTRA_MS_MAX, theirs.p50 * RATIO_MAX);
  return { name, values: product.last.length, product: ours, engine: theirs, bound, reached: ours.p50 <= bound };
}

const isNear = (one: number, other: number): boolean =>
  one === other || Math.abs(one - other) <= 1e-9 * Math.max(1, Math.abs(one), Math.abs(other));
const summary = (values: readonly number[]): string =>
  `${values.length} values: ${values.slice(0, 5).join(', ')} … ${values.slice(-2).join(', ')}`;
const timesOf = ({ cold, warm }: Measured): Times => ({
  cold: median(cold),
  p50: quantile(warm, 0.5),
  p99: quantile(warm, 0.99),
  count: warm.length,
});

/** Where the system lets us: without, "cold" is a process that has just started.  @returns whether it did */
async function dropPageCache(): Promise<boolean> {
  try {
    await promisify(execFile)('sync');
    await writeFile('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}

function reportOf(
  { readings, rounds }: AskingOptions,
  { directory: _, password: __, org: ___, ...filled }: Filled,
  questions: readonly AskedQuestion[],
  pageCacheDropped: boolean,
): AskingReport {
  return {
    format: 1,
    benchmark: 'ask',
    date: new Date().toISOString(),
    machine: machineFacts(),
    settings: { readings, rounds, environment: reportedEnvironment(process.env) },
    filled,
    pageCacheDropped,
    questions,
  };
}
