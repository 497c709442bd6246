"""The simulated modem: a pty for each port, answering as a cellular modem would.

It is an independent peer: it shares no code with the bridge, and is written from 3GPP TS 27.005, 27.007,
23.038 and 23.040, ITU-T V.250 and the makers' AT manuals.

One asyncio loop in one thread owns everything here.

===================  ========================================================================
`line`               the parser of a command line
`results`            final result codes, and the errors that become them
`profiles`           the models
`pty`                one port: the pty, its link, whether a host has it open
`session`            the conversation on one port: echo, lines, prompts, data
`interpreter`        the table of commands
`basic`, `sim`,      a family of commands each, with the state behind it
`radio`, `sms`,
`ublox`, `quectel`
`gsm7`, `tpdu`       the bytes of a short message
`air`                the parts of an SMS over the air, split and joined
`net`                real sockets on this machine
`pool`               the modem's sockets on them, below `ublox` and `quectel`
`call`               the data call: the far end of ``ATD``
`faults`, `active`   the faults that can be ordered, and those that are active
`events`             the log of events, in a file and for a person
`device`             the assembly
`orders`, `control`  orders while it runs: their form, and the socket that takes them
===================  ========================================================================
"""
