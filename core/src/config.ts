import { z } from 'zod';
import { MillraceError } from './errors.ts';

export type ConfigErrorCode = 'CONFIG_INVALID';
/** All problems of a configuration at once; `problems` has a line for each. */
export class ConfigError extends MillraceError<ConfigErrorCode> {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super('CONFIG_INVALID', 'never', { problems: problems.join('; ') });
    this.problems = problems;
  }
}

/** A switch in the environment: on/off, true/false, yes/no, 1/0. */
export const onOff = z
  .stringbool({ truthy: ['on', 'true', 'yes', '1'], falsy: ['off', 'false', 'no', '0'] })
  .or(z.boolean());

/** A listener's port: a number, 0 for any free one, or off. */
export const port = z
  .literal('off')
  .or(z.coerce.number().int().min(0).max(65_535))
  .describe('port; 0 picks a free one, off leaves the listener out');

/** Reads one configuration object out of the environment, frozen.
 *  @throws ConfigError with every problem of the schema at once */
export function readConfig<S extends z.ZodObject>(
  schema: S,
  environment: Readonly<Record<string, string | undefined>>,
): Readonly<z.infer<S>> {
  const input: Record<string, string> = {};
  for (const key of Object.keys(schema.shape)) {
    const value = environment[key];
    if (value !== undefined && value !== '') input[key] = value;
  }
  const result = schema.safeParse(input);
  if (result.success) return Object.freeze(result.data);
  throw new ConfigError(result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`));
}
