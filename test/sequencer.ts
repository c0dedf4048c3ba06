import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What takes minutes, and mostly waits, begins first: begun last it would run on alone. */
const LONG = [
  /\/cluster\/cluster\.live/,
  /\/kafka\/(broker|cluster|hanging)\.live/,
  /\/schemathesis\.live/,
  /\/jobs-redis\.live/,
  /\/(revocation|examples)\./,
  /\/soak\//,
  /\.live\.test\.ts$/,
  /\.e2e\.test\.ts$/,
];

/** In the order of LONG; what none of them names comes at the end. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const found = LONG.findIndex((pattern) => pattern.test(moduleId));
      return found === -1 ? LONG.length : found;
    };
    const sorted = await super.sort(files);
    return sorted.toSorted((one, other) => rank(one) - rank(other));
  }
}
