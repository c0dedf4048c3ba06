/** LwM2M devices: who they are (accounts, made by people) and which are there (registrations, made by devices). */

/** How a thing is known to LwM2M. */
export interface Lwm2mAccount {
  readonly thing: string;
  readonly org: string;
  /** Endpoint name; unique in the installation. */
  readonly endpoint: string;
  /** `dtls`: only over CoAPS, as this thing; `none`: also over plain CoAP, where whoever knows the name can speak for it. */
  readonly security: 'dtls' | 'none';
  /** Id of the channel that its readings go to: the account's own, else the one that the thing is connected to with
   *  publish, if there is just one; null: nobody knows. */
  readonly channel: string | null;
  /** Paths that are observed once it has registered, with their attributes (`pmin=10&pmax=60`). */
  readonly observe: readonly { readonly path: string; readonly attributes: string }[];
  /** What a bootstrap client is told; null: it has none here. */
  readonly bootstrap: Lwm2mBootstrap | null;
}

/** Servers that a device is told of. */
export interface Lwm2mBootstrap {
  readonly servers: readonly {
    readonly shortId: number;
    /** `coap://…` or `coaps://…` */
    readonly uri: string;
    readonly lifetimeSeconds: number;
    readonly binding: string;
    /** Identity and key for `coaps`: the thing's own if absent. */
    readonly identity?: string;
    readonly key?: string;
  }[];
}

export interface Lwm2mRegistration {
  /** In `/rd/<location>`; unguessable. */
  readonly location: string;
  readonly thing: string;
  readonly org: string;
  readonly endpoint: string;
  readonly version: string;
  readonly binding: string;
  /** Sleeps: it hears only shortly after it spoke. */
  readonly queueMode: boolean;
  readonly lifetimeSeconds: number;
  /** As it said, `/3303/0`. */
  readonly objects: readonly string[];
  /** Content formats that it understands, as its root link's `ct` says; empty if it did not. */
  readonly formats: readonly number[];
  readonly address: string;
  /** Node that it speaks to. */
  readonly node: string;
  readonly secure: boolean;
  readonly registeredMs: number;
  readonly updatedMs: number;
  readonly expiresMs: number;
}

/** @throws RegistryError REGISTRY_UNREACHABLE (retry later) */
export interface Lwm2mDirectory {
  /** By endpoint name: an account's, else a thing's id or external id (then with `security: 'dtls'`); null if none, if
   *  several organisations have a thing with this external id, or if the thing is disabled.
   *  @param thing who it is, where that is known already (DTLS, a key): then only its own account, id and external id
   *         count, whatever others have the same name */
  account(endpoint: string, thing?: string): Promise<Lwm2mAccount | null>;
  /** Of a thing, whose endpoint is its external id or id if it has no account; null if it is gone or disabled. */
  accountOf(thing: string): Promise<Lwm2mAccount | null>;
  /** Writes a registration, in the place of the thing's earlier one.
   *  @throws RegistryError REGISTRY_NOT_FOUND if the thing is gone */
  register(registration: Lwm2mRegistration): Promise<void>;
  /** After a restart, or when the device comes by another node; null if it is gone or its lifetime is over. */
  registration(location: string): Promise<Lwm2mRegistration | null>;
  registrationOf(thing: string): Promise<Lwm2mRegistration | null>;
  remove(location: string): Promise<void>;
}
