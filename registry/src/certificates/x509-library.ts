// The library wants it before all else.
import 'reflect-metadata';

export * as ocsp from '@peculiar/asn1-ocsp';
export { AsnParser, AsnSerializer, OctetString } from '@peculiar/asn1-schema';
export * as asn1 from '@peculiar/asn1-x509';
export * from '@peculiar/x509';
