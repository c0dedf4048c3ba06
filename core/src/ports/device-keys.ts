/** Keys of things in the clear, for handshakes that need both sides to have them (DTLS with a pre-shared key).
 *  @holds what is given is never logged and forgotten as soon as the handshake is over */
export interface DeviceKeys {
  /** The keys that hold for a thing now, the newest first (two while a key that was replaced overlaps); empty if there is
   *  no such thing, or it is disabled.
   *  @param identity the thing's id
   *  @throws RegistryError REGISTRY_UNREACHABLE (retry later) */
  keysOf(identity: string): Promise<readonly string[]>;
  /** The external keys of the things with this external id, with which they ask for their bootstrap: of every
   *  organisation that has one, the oldest eight.
   *  @throws RegistryError REGISTRY_UNREACHABLE (retry later) */
  bootstrapKeys(externalId: string): Promise<readonly BootstrapKey[]>;
}
export interface BootstrapKey {
  readonly thing: string;
  readonly key: string;
}
