import type { Component, Log, LogEngine } from '@millrace/core';
import { type LogConfig, partitionCountOf, retentionBytesOf } from '@millrace/log';
import { PROCESSORS_GROUP } from '@millrace/processors';

export const MESSAGES_TOPIC = 'millrace.messages';

/** The log's engine with the topic that messages travel on, opened as configured. */
export function messagesTopic(
  engine: Component<LogEngine>,
  config: LogConfig,
): Component<{ readonly engine: LogEngine; readonly messages: Log }> {
  return {
    name: engine.name,
    async start() {
      const started = await engine.start();
      try {
        const messages = await started.value.topic({
          topic: MESSAGES_TOPIC,
          partitionCount: partitionCountOf(config),
          retentionMs: config.MILLRACE_LOG_RETENTION_MS,
          retentionBytes: retentionBytesOf(config),
          neededBy: [PROCESSORS_GROUP],
        });
        return { ...started, value: { engine: started.value, messages } };
      } catch (error) {
        await started.stop();
        throw error;
      }
    },
  };
}
