"""The simulated modem: a pty for each port, answering as a cellular modem would.

An independent peer: it shares no line with the code that will talk to it, and is written from 3GPP TS 27.005,
27.007, 23.038 and 23.040, ITU-T V.250 and the makers' AT manuals.

One thread, one asyncio loop, which owns everything here.

===================  ========================================================================
`line`               a command line as it was typed, taken apart
`results`            final result codes and the errors that become them
`profiles`           the modems there are
`pty`                one port: the pty, its link, whether somebody has it open
`session`            the conversation on one port: echo, lines, prompts, data
`interpreter`        finds who answers a command
`basic`, `sim`,      what they answer, a family of commands each, with the state behind it
`radio`, `texts`,
`ublox`, `quectel`
`gsm7`, `tpdu`       the bytes of a short message
`air`                what comes over the air as texts, taken apart and put together
`net`                real sockets on this machine
`pool`               the modem's sockets on them, below `ublox` and `quectel`
`call`               the data call: the far end of ``ATD``
`faults`, `active`   what can be made to go wrong, and what goes wrong now
`events`             what happens, in a file and for a person
`device`             puts it together
`tell`, `control`    orders while it runs: what they are, and the socket that takes them
===================  ========================================================================
"""
