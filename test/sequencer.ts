import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What takes minutes begins early: begun last it would run on alone. */
const LONG = [
  /\/cluster\/cluster\.live/,
  /\/schemathesis\.live/,
  /\/contract\/examples\./,
  /\/kafka\/(broker|cluster|hanging)\.live/,
  /\/revocation\./,
  /\/soak\//,
  /\.live\.test\.ts$/,
  /\.e2e\.test\.ts$/,
];
/** Those that start brokers, which take a machine for themselves. */
const BROKERS = /kafka|\/cluster\/|\/upgrade\/rolling/;

/** In the order of LONG, and those with brokers as far from each other as can be: two of them side by side are a test of
 *  the machine. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const found = LONG.findIndex((pattern) => pattern.test(moduleId));
      return found === -1 ? LONG.length : found;
    };
    const sorted = (await super.sort(files)).toSorted((one, other) => rank(one) - rank(other));
    const heavy = sorted.filter(({ moduleId }) => BROKERS.test(moduleId));
    const light = sorted.filter(({ moduleId }) => !BROKERS.test(moduleId));
    const between = Math.ceil(light.length / Math.max(1, heavy.length));
    const mixed = heavy.flatMap((each, index) => [each, ...light.slice(index * between, (index + 1) * between)]);
    return heavy.length === 0 ? light : mixed;
  }
}
