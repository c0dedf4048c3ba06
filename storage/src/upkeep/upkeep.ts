import type { StoreUpkeep } from '@millrace/core';
import type { Engine } from '../engine/engine.ts';
import { queryError } from '../engine/errors.ts';
import { correct } from './correction.ts';
import { countReached, erase } from './deletion.ts';
import { sweep } from './retention.ts';

/** @param check throws while nothing may be asked */
export function createUpkeep(engine: Engine, check: () => void): StoreUpkeep {
  const asking = async <T>(what: string, signal: AbortSignal | null, work: () => Promise<T>): Promise<T> => {
    check();
    try {
      return await work();
    } catch (cause) {
      signal?.throwIfAborted();
      throw queryError(cause, what);
    }
  };
  return {
    count: (deletion) => asking('count', null, () => countReached(engine, deletion)),
    erase: (deletion, options) => asking('erase', options.signal, () => erase(engine, deletion, options)),
    correct: (deletion, span, options) =>
      asking('correct', options.signal, () => correct(engine, deletion, span, options)),
    sweep: (rules, options) => asking('sweep', options.signal, () => sweep(engine, rules, options)),
  };
}
