import { MillraceError } from '@millrace/core';
import type { CoapErrorCode } from './contract.ts';

export class CoapError extends MillraceError<CoapErrorCode> {}
