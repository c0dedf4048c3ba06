import { BlockList, isIP } from 'node:net';

/** Ranges that nobody outside answers at. Those of IPv4 also cover their mapped form.
 *  @source IANA IPv4 and IPv6 Special-Purpose Address Registries */
const NOT_PUBLIC_V4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  // Metadata services of clouds, too.
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const;
/** Within what is global unicast; those that carry an IPv4 address would lead around the list above. */
const NOT_PUBLIC_V6 = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const;

const refused = new BlockList();
for (const [address, bits] of NOT_PUBLIC_V4) refused.addSubnet(address, bits, 'ipv4');
for (const [address, bits] of NOT_PUBLIC_V6) refused.addSubnet(address, bits, 'ipv6');
const unicast = new BlockList();
unicast.addSubnet('2000::', 3, 'ipv6');

/** Whether an address is one of the public internet.  @param address without brackets or zone */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !refused.check(address, 'ipv4');
    case 6:
      return unicast.check(address, 'ipv6') && !refused.check(address, 'ipv6');
    default:
      return false;
  }
}

/** Services of old that would take an HTTP request for something else sit below 1024. */
export const isWebPort = (port: number): boolean => port === 80 || port === 443 || port >= 1_024;
