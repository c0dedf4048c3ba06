import { lookup as systemLookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Addresses that lead into the network of whoever runs the platform, or nowhere.
 *  @source RFC 6890 and the IANA registries of special-purpose addresses */
const PRIVATE = new BlockList();
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const) {
  PRIVATE.addSubnet(network, bits, 'ipv4');
}
/** All of IPv6 that is in use by the public, without what carries an IPv4 address inside. */
const PUBLIC6 = new BlockList();
PUBLIC6.addSubnet('2000::', 3, 'ipv6');
const NOT_PUBLIC6 = new BlockList();
for (const [network, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  NOT_PUBLIC6.addSubnet(network, bits, 'ipv6');
}

/** @param address an IP address, as a resolver or a person writes it */
export function isPublicAddress(address: string): boolean {
  const version = isIP(address);
  if (version === 4) return !PRIVATE.check(address, 'ipv4');
  return version === 6 && PUBLIC6.check(address, 'ipv6') && !NOT_PUBLIC6.check(address, 'ipv6');
}

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
