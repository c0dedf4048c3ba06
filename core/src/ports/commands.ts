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

/** States that nothing follows. */
export const FINAL_COMMAND_STATES: readonly CommandState[] = ['done', 'failed', 'expired', 'cancelled'];

export interface Command {
  /** UUIDv7; that of the message for what came as one. */
  readonly id: string;
  readonly org: string;
  readonly thing: string;
  readonly kind: CommandKind;
  /** Checked by the registry where a person gave it, by who carries it out in any case.
   *  @shape of `lwm2m.*`: Lwm2mArguments; of `lora.downlink`: LoraDownlinkArguments */
  readonly arguments: Readonly<Record<string, unknown>>;
  /** ms since 1970; nobody begins it later. */
  readonly expiresMs: number;
}

/** Of each kind only those that it needs. */
export interface Lwm2mArguments {
  /** `/3303`, `/3303/0`, `/3303/0/5700`, `/3303/0/5700/1`; absent for `lwm2m.cancel` of all. */
  readonly path?: string;
  /** The content format to ask for, by name; the server's choice if absent. */
  readonly format?: Lwm2mFormat;
  /** Of a resource; bytes as `{ "base64": "…" }`, an object link as `"3303:0"`, a time as seconds since 1970. */
  readonly value?: unknown;
  /** Of several below the path: by the rest of the path, `{ "5700": 21.5, "5701": "Cel" }`. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** Of a write to an instance or object; `update` leaves what is not given. */
  readonly mode?: 'replace' | 'update';
  /** Of execute: `0='a',1`. */
  readonly arguments?: string;
  /** Of observe, written before: `pmin=10&pmax=60`. */
  readonly attributes?: string;
}
export const LWM2M_FORMATS = ['text', 'opaque', 'tlv', 'senml-json', 'senml-cbor', 'cbor', 'json'] as const;
export type Lwm2mFormat = (typeof LWM2M_FORMATS)[number];

/** What an `lwm2m.*` command gives as its result. Of one that the device refused: `failed`, with its code. */
export interface Lwm2mResult {
  /** The device's answer, as `2.05` or `4.05`. */
  readonly code?: string;
  readonly values?: readonly {
    /** `/3303/0/5700` */
    readonly path: string;
    /** Bytes as `{ "base64": "…" }`. */
    readonly value: unknown;
    readonly unit?: string;
    readonly name?: string;
    /** RFC 3339, if the device said one. */
    readonly time?: string;
  }[];
  /** Of discover: path and attributes. */
  readonly links?: readonly { readonly path: string; readonly attributes: Readonly<Record<string, string>> }[];
  /** Of create: the path of the new instance. */
  readonly path?: string;
}

/** One of data, hex, object. */
export interface LoraDownlinkArguments {
  /** FRMPayload in base64. */
  readonly data?: string;
  readonly hex?: string;
  /** For the codec, or the network server's. */
  readonly object?: Readonly<Record<string, unknown>>;
  /** 1 to 223. */
  readonly f_port?: number;
  readonly confirmed?: boolean;
  /** What waits at the network server is thrown away before. */
  readonly flush?: boolean;
}

/** What became of it. */
export interface CommandOutcome {
  readonly state: Exclude<CommandState, 'queued' | 'cancelled'>;
  /** For people and programs; at most 64 KiB as JSON: of more only `detail` is kept.  @shape Lwm2mResult of `lwm2m.*` */
  readonly result?: unknown;
  /** Why it failed: a sentence. */
  readonly detail?: string;
}

export interface CommandShare {
  readonly perOrgMax: number;
  /** Organisations that are being served already. */
  readonly except: readonly string[];
}

/** @throws RegistryError REGISTRY_UNREACHABLE (retry later), from each method that asks */
export interface Commands {
  /** Makes one, unless there is one with this id.  @returns whether it was made
   *  @throws RegistryError REGISTRY_NOT_FOUND if the thing is not one of the org, REGISTRY_FULL if too many wait for it,
   *          REGISTRY_INVALID if the arguments are larger than 64 KiB */
  put(command: Command): Promise<boolean>;
  /** Takes what waits for a thing, oldest first: nobody else is given it until `leaseMs` have passed without a `settle`.
   *  Nothing of a thing that is disabled, or whose organisation is frozen.
   *  @param kinds only these  @param max at most so many (64) */
  take(thing: string, kinds: readonly CommandKind[], leaseMs: number, max?: number): Promise<readonly Command[]>;
  /** The same of any thing, of the organisations in turn.
   *  @param max at most so many  @param share of which so many of one organisation, and none of some */
  takeAny(
    kinds: readonly CommandKind[],
    leaseMs: number,
    max: number,
    share?: CommandShare,
  ): Promise<readonly Command[]>;
  /** Says what became of it; what is final stays. After `sent` and `acknowledged` nobody else is given it either: it has
   *  five minutes beyond its expiry to come to an end.
   *  @param thing where somebody else told which command it is: one of another thing is none
   *  @returns false if it is gone or final already */
  settle(id: string, outcome: CommandOutcome, thing?: string): Promise<boolean>;
  /** Called when a command may wait for a thing: at once on the node that made it, within a second on the others. A node
   *  that was away may have missed some: ask at a start, and when the device is heard of. */
  onQueued(listener: (thing: string) => void): () => void;
}
