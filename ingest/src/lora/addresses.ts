import { lookup as systemLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { isPublicAddress } from '../public-address.ts';

export class PrivateAddress extends Error {
  constructor(host: string) {
    super(`${host} has no public address, and MILLRACE_LORA_PRIVATE_ADDRESSES is off.`);
  }
}

/** How host names become addresses: those that are connected to are the very ones that were looked at, so a name that
 *  says something else a moment later leads nowhere else.
 *  @param privateToo any address will do */
export function guardedLookup(privateToo: boolean, lookup: typeof systemLookup = systemLookup): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) {
        callback(error, '', 0);
        return;
      }
      const fit = privateToo ? addresses : addresses.filter(({ address }) => isPublicAddress(address));
      const [first] = fit;
      if (first === undefined) callback(new PrivateAddress(hostname), '', 0);
      else if (options.all === true) callback(null, fit);
      else callback(null, first.address, first.family);
    });
  };
}

/** What is wrong with a host before anything is looked up: an address is never asked for.
 *  @param host as a URL has it, IPv6 in brackets or not */
export function hostFault(host: string, privateToo: boolean): PrivateAddress | null {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  return privateToo || isIP(bare) === 0 || isPublicAddress(bare) ? null : new PrivateAddress(bare);
}
