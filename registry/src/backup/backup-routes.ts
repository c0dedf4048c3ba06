import { z } from '@hono/zod-openapi';
import type { Logger } from '@millrace/core';
import { unscoped } from '../http/identity.ts';
import type { Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { type Route, route } from '../http/route.ts';
import { backupArchive } from './archive.ts';
import { caughtUp } from './catching-up.ts';
import { SECRET_PROOF } from './manifest.ts';

/** So long is waited for what is acknowledged and not stored yet. */
const CATCH_UP_MS_MAX = 30_000;
/** A backup that nobody takes on ends: it keeps the database from cleaning up, and others from beginning. */
const STALL_MS_MAX = 300_000;

export const backupRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/backups',
      tag: 'platform',
      summary: 'Take a backup of the installation',
      description:
        'Answers with a tar archive of the registry and the readings as they are now; its last file is the manifest, without which it is none. One at a time. For administrators of the installation, who log in themselves. `millrace backup` takes it and checks it.',
      answers: {
        200: { description: 'The archive.', type: 'application/x-tar', schema: z.string() },
        404: { description: 'This node keeps no readings: ask another one.' },
        409: { description: 'Another backup is being made.' },
        503: { description: 'An engine does not answer.' },
      },
      examples: [{ name: 'by an owner, who may not', status: 403 }],
    },
    async (call, plane) => {
      const { subject } = await unscoped(call);
      if (subject.kind !== 'user' || !subject.admin)
        throw new Refusal(403, 'This is for administrators of the installation.');
      return new Response(bodyOf(await begin(plane), plane.logger), {
        headers: {
          'content-type': 'application/x-tar',
          'content-disposition': 'attachment; filename="millrace-backup.tar"',
          'cache-control': 'no-store',
        },
      });
    },
  ),
];

interface Begun {
  readonly archive: AsyncGenerator<Uint8Array>;
  close(): Promise<void>;
}

/** The moment is the same for all, but for the milliseconds between: the readings' comes first, so that whatever they
 *  are of is in the registry. */
async function begin({ registry, snapshots, log, processorsGroup, version }: Plane): Promise<Begun> {
  if (snapshots === null) throw new Refusal(404, 'This node keeps no readings: ask another one.');
  const behind = log === null ? null : await caughtUp(log, processorsGroup, CATCH_UP_MS_MAX);
  const store = await snapshots.snapshot(behind === null ? EVERY : new Set(behind.keys()));
  const taken = await registry.snapshot().catch((error) => {
    if ((error as { code?: string }).code !== 'REGISTRY_FULL') throw error;
    throw new Refusal(409, 'Another backup is being made: wait until it has ended.');
  });
  registry.audit.note({ action: 'backups.take', entity: 'backups', id: taken.id, org: null, outcome: 'done' });
  await registry.audit.flush().catch(() => undefined);
  const archive = backupArchive({
    registry: taken,
    store,
    program: version,
    secret: registry.credentials.digest(SECRET_PROOF),
    behind: [...(behind?.values() ?? [])].reduce((sum, count) => sum + count, 0),
  });
  return { archive, close: () => taken.close() };
}

/** Nobody knows how far the processors are. */
const EVERY = { has: () => true } as unknown as ReadonlySet<number>;

/** What comes next is made when the client has taken what came before. */
function bodyOf({ archive, close }: Begun, logger: Logger): ReadableStream<Uint8Array> {
  let stall: NodeJS.Timeout | undefined;
  let left = false;
  const end = async (): Promise<void> => {
    clearTimeout(stall);
    left = true;
    // First, since what is waited for may never come.
    await close();
    await archive.return(undefined).catch(() => undefined);
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        clearTimeout(stall);
        try {
          const { done, value } = await archive.next();
          if (left) return;
          if (done === true) {
            await close();
            controller.close();
            return;
          }
          controller.enqueue(value);
          stall = setTimeout(() => {
            logger.warn({ waitedMs: STALL_MS_MAX }, 'a backup ended: its client takes nothing');
            controller.error(new Error('nobody took the backup'));
            void end();
          }, STALL_MS_MAX);
          stall.unref();
        } catch (error) {
          await close();
          if (left) return;
          logger.error({ err: error }, 'a backup broke off');
          controller.error(error);
        }
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  );
}
