import type { CommandKind, CommandOutcome, Commands, Logger, Lwm2mDirectory } from '@millrace/core';
import type { Conversation, Told } from './conversation.ts';
import type { Lwm2mCounts } from './counts.ts';
import type { Device } from './device.ts';
import { type Execution, isOnce } from './execution.ts';
import type { Fleet } from './fleet.ts';
import { parsePath } from './path.ts';

const KINDS: readonly CommandKind[] = [
  'lwm2m.read',
  'lwm2m.write',
  'lwm2m.execute',
  'lwm2m.observe',
  'lwm2m.cancel',
  'lwm2m.create',
  'lwm2m.delete',
  'lwm2m.discover',
];
/** A command that was taken is ours for so much longer than a device has to answer it. */
const LEASE_MARGIN_MS = 30_000;
/** So often a command that came to no answer is tried. */
const RETRY_MS = 5_000;
const SETTLE_ATTEMPTS = 10;
const SETTLE_RETRY_MS = 1_000;

export interface DispatchOptions {
  readonly commands: Commands;
  readonly directory: Lwm2mDirectory;
  readonly conversation: Conversation;
  readonly execution: Execution;
  readonly fleet: Fleet;
  readonly counts: Lwm2mCounts;
  readonly logger: Logger;
  /** Name of this node in registrations. */
  readonly node: string;
  readonly requestMs: number;
  readonly busyMax: number;
}

/** Brings commands to devices: one after the other to each, while it hears, and to a bounded number of them at once. */
export class Dispatch {
  readonly #options: DispatchOptions;
  readonly #stopListening: () => void;
  /** They wait for one of the places. */
  readonly #queue = new Set<Device>();
  readonly #working = new Set<Promise<void>>();
  /** What is observed of them must be asked for again. */
  readonly #anew = new WeakSet<Device>();
  #stopped = false;

  constructor(options: DispatchOptions) {
    this.#options = options;
    this.#stopListening = options.commands.onQueued((thing) => {
      const device = options.fleet.byThing(thing);
      if (device === undefined) return;
      device.commandsWait = true;
      if (device.hears(Date.now())) this.wake(device);
      else void this.#check(device);
    });
  }

  /** Something may be done for the device now, if it hears.
   *  @param anew it has come, or come back: what is observed of it must be asked for again */
  wake(device: Device, anew = false): void {
    if (this.#stopped || device.gone) return;
    if (anew) this.#anew.add(device);
    const due = device.commandsWait || device.held !== null || this.#anew.has(device);
    if (!due || device.busy || !device.hears(Date.now())) return;
    if (this.#working.size >= this.#options.busyMax) {
      this.#queue.add(device);
      return;
    }
    this.#begin(device);
  }
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopListening();
    this.#queue.clear();
  }

  /** Waits for what is under way. */
  async drain(deadlineMs: number): Promise<void> {
    await this.stop();
    const late = new Promise<void>((resolve) => setTimeout(resolve, deadlineMs).unref());
    await Promise.race([Promise.all(this.#working), late]);
  }

  #begin(device: Device): void {
    device.busy = true;
    const work = this.#serve(device)
      .catch((error: unknown) => {
        const { logger } = this.#options;
        logger.warn({ err: error, thing: device.thing }, 'lwm2m: commands cannot be carried out; tries again');
        this.#wakeAfter(device, RETRY_MS);
        return true;
      })
      .then((failed) => {
        device.busy = false;
        this.#working.delete(work);
        for (const next of this.#queue) {
          if (this.#working.size >= this.#options.busyMax) break;
          this.#queue.delete(next);
          this.wake(next);
        }
        // What came in while the last question was under way.
        if (failed !== true) this.wake(device);
      });
    this.#working.add(work);
  }

  #wakeAfter(device: Device, ms: number): void {
    setTimeout(
      () => {
        device.commandsWait = true;
        this.wake(device);
      },
      Math.max(0, ms),
    ).unref();
    device.commandsWait = true;
  }

  async #serve(device: Device): Promise<void> {
    const { commands, requestMs } = this.#options;
    if (this.#anew.delete(device) && !(await this.#observeAll(device))) this.#anew.add(device);
    while (!this.#stopped && device.hears(Date.now())) {
      const { held } = device;
      device.held = null;
      if (held !== null && held.leaseUntilMs > Date.now() + requestMs) {
        await this.#carryOut(device, held.command, held.leaseUntilMs);
        continue;
      }
      // It is given again once our claim on it is over.
      if (held !== null) this.#wakeAfter(device, held.leaseUntilMs - Date.now());
      if (!device.commandsWait) return;
      device.commandsWait = false;
      if (!(await this.#isOurs(device))) return;
      const leaseMs = 2 * requestMs + LEASE_MARGIN_MS;
      const [command] = await commands.take(device.thing, KINDS, leaseMs, 1);
      if (command === undefined) continue;
      device.commandsWait = true;
      await this.#carryOut(device, command, Date.now() + leaseMs);
    }
  }

  /** What was told of a device that sleeps may be the end of its registration: by people, or by another node. */
  async #check(device: Device): Promise<void> {
    try {
      await this.#isOurs(device);
    } catch (error) {
      // It is asked again before anything is done for the device.
      this.#options.logger.debug(
        { err: error, thing: device.thing },
        'lwm2m: whether it is registered is not known now',
      );
    }
  }

  /** Whether it is still registered here. If not, it is forgotten: another node has it, or its account is over. */
  async #isOurs(device: Device): Promise<boolean> {
    const { directory, fleet, node, logger } = this.#options;
    const registration = await directory.registrationOf(device.thing);
    if (registration?.location === device.registration.location && registration.node === node) return true;
    // What was read may be older than what it has said meanwhile.
    if (registration !== null && registration.updatedMs < device.registration.updatedMs) return true;
    logger.debug({ thing: device.thing }, 'lwm2m: the device has gone to another node, or is over');
    fleet.remove(device);
    return false;
  }

  async #carryOut(
    device: Device,
    command: NonNullable<Device['held']>['command'],
    leaseUntilMs: number,
  ): Promise<void> {
    const { execution, counts } = this.#options;
    const { id, kind, expiresMs } = command;
    // Whoever keeps them sees to what is over.
    if (expiresMs <= Date.now()) return;
    // From here on nobody else may begin it, even if we do not come to its end; and nobody has called it off.
    if (isOnce(kind) && !(await this.#options.commands.settle(id, { state: 'sent' }))) return;
    const told = await this.#safely(() => execution.carryOut(device, command));
    if (told.kind === 'unheard' && !isOnce(kind)) {
      counts.commanded(kind, 'asleep');
      device.held = { command, leaseUntilMs };
      return;
    }
    counts.commanded(kind, told.kind === 'done' ? 'done' : 'failed');
    await this.#settle(id, outcomeOf(told));
  }

  /** What a device has done is done: the registry hears of it, if it is away for a moment only. */
  async #settle(id: string, outcome: CommandOutcome): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#options.commands.settle(id, outcome);
        return;
      } catch (error) {
        if (attempt >= SETTLE_ATTEMPTS || this.#stopped) throw error;
        await new Promise((resolve) => setTimeout(resolve, SETTLE_RETRY_MS).unref());
      }
    }
  }

  /** A fault of ours ends the command, and not those after it. */
  async #safely(work: () => Promise<Told>): Promise<Told> {
    try {
      return await work();
    } catch (error) {
      this.#options.logger.error({ err: error }, 'lwm2m: a fault in a command');
      return { kind: 'failed', detail: 'A fault on our side.' };
    }
  }

  /** @returns false where it stopped answering: the rest follows when it is heard again */
  async #observeAll(device: Device): Promise<boolean> {
    const { conversation, logger } = this.#options;
    device.dropObservations(true);
    for (const [text, attributes] of device.wanted) {
      const path = parsePath(text);
      if (path === null) continue;
      const told = await conversation.observe(device, path, attributes, undefined);
      if (told.kind === 'unheard' || device.gone) return false;
      if (told.kind === 'failed') {
        logger.debug({ thing: device.thing, path: text, detail: told.detail }, 'lwm2m: a path is not observed');
      }
    }
    return true;
  }
}

function outcomeOf(told: Told): CommandOutcome {
  switch (told.kind) {
    case 'done':
      return { state: 'done', result: told.result };
    case 'failed':
      return { state: 'failed', detail: told.detail, ...(told.result === undefined ? {} : { result: told.result }) };
    default:
      return { state: 'failed', detail: 'The device did not answer: whether it has done it is not known.' };
  }
}
