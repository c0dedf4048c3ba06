import type { Questions } from '@millrace/core';
import type { Asker } from '../read/asker.ts';
import { readLatest } from './latest.ts';
import { streamRows } from './rows.ts';
import { createSeries } from './series.ts';
import { createSlices } from './slices.ts';

/** Everything that can be asked of readings.  @param check throws where nothing can be asked */
export function createQuestions(asker: Asker, check: () => void): Questions {
  const series = createSeries(asker);
  const slices = createSlices(asker);
  return {
    async series(question, options) {
      check();
      return series.series(question, options);
    },
    async seriesText(question, options) {
      check();
      return series.seriesText(question, options);
    },
    seriesRows(question, options) {
      check();
      return series.seriesRows(question, options);
    },
    rows(question, options) {
      check();
      return streamRows(asker, question, options);
    },
    async latest(query, options) {
      check();
      return readLatest(asker, query, options);
    },
    async slices(selection, rowsMax, signal) {
      check();
      return slices(selection, rowsMax, signal);
    },
  };
}
