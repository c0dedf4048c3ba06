import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@millrace/core';
import { announce } from '../announcement.ts';
import { loadConfig } from '../config.ts';
import { takeDataDirectory } from '../data-directory.ts';
import { createLogger } from '../log-output.ts';
import { type RunningNode, startNode } from '../node.ts';
import { environmentWith, type Flags } from './flags.ts';

const SAME_SIGNAL_MS = 300;

/** Runs a node until a signal ends it. The first SIGTERM or SIGINT drains, a second one stops at once. */
export async function start(flags: Flags): Promise<void> {
  const begun = performance.now();
  const config = loadConfig(environmentWith(flags));
  const logger = createLogger(config.node.MILLRACE_LOG_LEVEL);
  const profile = config.node.MILLRACE_PROFILE;
  if (profile !== undefined) logger.info({ profile }, 'starts with the defaults of a profile');
  const directory = await takeDataDirectory(config.node.MILLRACE_DATA_DIR, config.node.MILLRACE_SECRET);
  const stopping = new AbortController();
  let starting: Promise<RunningNode> | undefined;
  let ending: Promise<void> | undefined;
  let endingSince = 0;

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    logger.info({ signal }, 'draining; a second signal stops at once');
    stopping.abort();
    const drainMsMax = config.node.MILLRACE_DRAIN_MS_MAX;
    const since = performance.now();
    // A node that is being started is let come up or give up: left half-way, its engines would outlive us.
    const node = await Promise.race([starting?.catch(() => undefined), sleep(drainMsMax)]);
    const late = await node?.drain(Math.max(0, drainMsMax - (performance.now() - since)));
    for (const { name, error } of late ?? []) logger.error({ component: name, err: error }, 'drain');
    await node?.stop();
    await directory.release();
    logger.info('stopped');
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (ending !== undefined) {
        // A terminal's Ctrl-C can arrive twice: from the terminal, and passed on by a package manager.
        if (signal === 'SIGINT' && performance.now() - endingSince < SAME_SIGNAL_MS) return;
        logger.warn({ signal }, 'stopped at once; what is on the log is stored after the next start');
        process.exit(130);
      }
      endingSince = performance.now();
      ending = end(signal).then(
        () => process.exit(0),
        (error) => {
          logger.fatal({ err: error }, 'stop');
          process.exit(1);
        },
      );
    });
  }
  process.on('unhandledRejection', (error) => fault(logger, error));
  process.on('uncaughtException', (error) => fault(logger, error));

  let node: RunningNode;
  try {
    starting = startNode(config, directory, { logger, signal: stopping.signal });
    node = await starting;
  } catch (error) {
    // A signal while starting: `end` above finishes.
    if (ending !== undefined) return;
    await directory.release();
    throw error;
  }
  if (ending === undefined) announce(config, directory, node, performance.now() - begun);
}

/** A fault that nobody caught: what is acknowledged is on the log, so ending is safer than going on half. */
function fault(logger: Logger, error: unknown): void {
  logger.fatal({ err: error }, 'a fault that nobody caught; stopping');
  process.exit(1);
}
