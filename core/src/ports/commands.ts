/** What somebody wants of a device, on its way there: made by the registry, carried out by whichever ingress node has the
 *  device. Kept in the database, so it waits for a device that sleeps and survives a node that is killed. */

export const COMMAND_KINDS = [
  'lwm2m.read',
  'lwm2m.write',
  'lwm2m.execute',
  'lwm2m.observe',
  'lwm2m.cancel',
  'lwm2m.create',
  'lwm2m.delete',
  'lwm2m.discover',
  'lora.downlink',
] as const;
export type CommandKind = (typeof COMMAND_KINDS)[number];

/** `queued`: nobody has taken it; `sent`: on its way, no answer yet; `acknowledged`: the network has sent it, or the
 *  device has it. The last four are final. */
export const COMMAND_STATES = ['queued', 'sent', 'acknowledged', 'done', 'failed', 'expired', 'cancelled'] as const;
export type CommandState = (typeof COMMAND_STATES)[number];

export interface Command {
  /** UUIDv7; that of the message for what came as one. */
  readonly id: string;
  readonly org: string;
  readonly thing: string;
  readonly kind: CommandKind;
  /** Checked by the registry where a person gave it, by who carries it out in any case. */
  readonly arguments: Readonly<Record<string, unknown>>;
  /** ms since 1970; nobody begins it later. */
  readonly expiresMs: number;
}

/** What became of it. */
export interface CommandOutcome {
  readonly state: Exclude<CommandState, 'queued' | 'cancelled'>;
  /** For people and programs; at most 64 KiB as JSON. */
  readonly result?: unknown;
  /** Why it failed: a sentence. */
  readonly detail?: string;
}

/** @throws RegistryError REGISTRY_UNREACHABLE (retry later), from each method that asks */
export interface Commands {
  /** Makes one, unless there is one with this id.  @returns whether it was made */
  put(command: Command): Promise<boolean>;
  /** Takes what waits for a thing, oldest first: nobody else is given it until `leaseMs` have passed without a `settle`.
   *  @param kinds only these */
  take(thing: string, kinds: readonly CommandKind[], leaseMs: number): Promise<readonly Command[]>;
  /** The same of any thing that this node's network servers reach. @param max at most so many */
  takeAny(kinds: readonly CommandKind[], leaseMs: number, max: number): Promise<readonly Command[]>;
  /** Says what became of it; what is final stays. @returns false if it is gone or final already */
  settle(id: string, outcome: CommandOutcome): Promise<boolean>;
  /** Called when a command may wait for a thing: at once on the node that made it, within a second on the others. */
  onQueued(listener: (thing: string) => void): () => void;
}
