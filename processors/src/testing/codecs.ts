import { type CodecInput, type CodecRunner, createLogger, createMetrics, type Metrics } from '@millrace/core';
import { CodecsConfig } from '../codecs/config.ts';
import { codecRunner } from '../codecs/runner.ts';

/** A runner of codecs and how to end it. */
export async function startCodecs(
  config: object = {},
): Promise<{ readonly codecs: CodecRunner; readonly metrics: Metrics; stop(): Promise<void> }> {
  const metrics = createMetrics();
  const component = codecRunner(CodecsConfig.parse({ MILLRACE_CODECS_THREADS: 1, ...config }), {
    metrics,
    logger: createLogger({ level: 'silent' }),
  });
  const { value, stop } = await component.start();
  return { codecs: value, metrics, stop };
}

let made = 0;
/** A codec of its own, and of an organisation of its own. */
export const codecOf = (script: string, org = `org-${made}`): CodecInput => ({
  id: `codec-${made++}`,
  org,
  version: 1,
  kind: 'javascript',
  script,
});
