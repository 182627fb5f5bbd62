# SPDX-License-Identifier: Apache-2.0
"""What Axis2/C inside Apache httpd shows to anybody on 8774 (CC) and 8775 (NC).

Operations from wsdl/eucalyptus_{nc,cc,gl}.wsdl; page from Axis2/C's http_transport_utils. The headers of httpd are
UNCONFIRMED: they are those of an ordinary httpd of EL7.
"""

from __future__ import annotations

from nephoscope.demo.model import Answer, Cloud, Request

OPERATIONS = {
    "EucalyptusNC": (
        "ncAssignAddress ncAttachNetworkInterface ncAttachVolume ncBroadcastNetworkInfo ncBundleInstance"
        " ncBundleRestartInstance ncCancelBundleTask ncCreateImage ncDescribeInstances ncDescribeResource"
        " ncDescribeSensors ncDetachNetworkInterface ncDetachVolume ncGetConsoleOutput ncMigrateInstances ncModifyNode"
        " ncPowerDown ncRebootInstance ncRunInstance ncStartInstance ncStartNetwork ncStopInstance ncTerminateInstance"
    ),
    "EucalyptusCC": (
        "AssignAddress AttachNetworkInterface AttachVolume BroadcastNetworkInfo BundleInstance BundleRestartInstance"
        " CancelBundleTask ConfigureNetwork CreateImage DescribeInstances DescribeNetworks DescribeResources"
        " DescribeSensors DescribeServices DetachNetworkInterface DetachVolume DisableService EnableService"
        " GetConsoleOutput MigrateInstances ModifyNode RebootInstances RegisterImage RunInstances ShutdownService"
        " StartInstance StartNetwork StartService StopInstance StopNetwork StopService TerminateInstances UnassignAddress"
    ),
    "EucalyptusGL": "GetKeys GetLogs",
}
SERVICE = {8774: "EucalyptusCC", 8775: "EucalyptusNC"}
NO_WSDL = "Unable to retrieve wsdl for this service"


def answer(cloud: Cloud, request: Request, port: int) -> Answer:
    """Answer on 8774 or 8775. `Demo.tell("faulty" | "undeployed", host)` breaks the module that the page should list."""
    name = SERVICE[port]
    broken = cloud.hosts[request.host].store.get("axis2", "")
    if request.path.rstrip("/") == "/axis2/services" and request.method in ("GET", "HEAD"):
        return _html(200, page(name, broken))
    if request.path.startswith("/axis2/services/"):
        service = request.path[len("/axis2/services/") :].strip("/")
        known = service in (name, "EucalyptusGL") and not broken
        if known and request.method == "GET" and request.query == "wsdl":
            return _html(200, NO_WSDL)
        if known and request.method == "POST":
            # No message without WS-Security gets further; the fault's text is UNCONFIRMED.
            fault = (
                '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Header/><soapenv:Body>'
                "<soapenv:Fault><faultcode>soapenv:Sender</faultcode><faultstring>Security header not found"
                "</faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>"
            )
            return Answer(500, {"Content-Type": "text/xml;charset=UTF-8"}, fault.encode())
    return _html(
        404, "<!DOCTYPE HTML>\n<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"
    )


def page(name: str, broken: str = "") -> str:
    """Return the list of services; `broken` is "faulty" (listed as such) or "undeployed" (there are none)."""
    text = "<h2>Deployed Services</h2>"
    if broken == "undeployed":
        text += "There are no services deployed"
    else:
        for service in (name, "EucalyptusGL") if not broken else ("EucalyptusGL",):
            items = "".join(f"<li>{operation}</li>" for operation in OPERATIONS[service].split())
            text += f"<h3><u>{service}</u></h3><p>{service} Service</p><i>Available Operations</i> <ul>{items}</ul>"
        if broken == "faulty":
            text += f'<hr><h2><font color="red">Faulty Services</font></h2><h3><font color="red">{name}</font></h3>'
    head = "<html><head><title>Axis2C :: Services</title></head><body>"
    return f'{head}<font face="courier">{text}</font></body></html>\r\n'


def _html(status: int, text: str) -> Answer:
    return Answer(status, {"Content-Type": "text/html"}, text.encode())
