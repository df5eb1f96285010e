"""What an action of the trail is called: no code stands on a page without words."""

from django.utils.translation import gettext_lazy as _

from jinqiao.web.components import Text

ACTION_WORDS: dict[str, Text] = {
    "access.api.refuse": _("拒绝接口请求"),
    "access.page.refuse": _("拒绝访问页面"),
    "accounts.application.change_state": _("变更应用状态"),
    "accounts.application.register": _("登记应用"),
    "accounts.organisation.add": _("登记机构"),
    "accounts.organisation.close": _("停用机构"),
    "accounts.organisation.edit": _("修改机构"),
    "accounts.organisation.reopen": _("恢复机构"),
    "accounts.password.change": _("修改口令"),
    "accounts.password.reset": _("重置口令"),
    "accounts.person.add": _("新增人员"),
    "accounts.person.close": _("停用账号"),
    "accounts.person.edit": _("修改人员"),
    "accounts.person.reopen": _("恢复账号"),
    "accounts.person.unlock": _("解除锁定"),
    "accounts.post.appoint": _("任命岗位"),
    "accounts.post.end": _("结束岗位"),
    "accounts.region.add": _("登记区划"),
    "accounts.section.add": _("增加科室"),
    "accounts.session.close": _("退出登录"),
    "accounts.session.open": _("登录"),
    "audit.event.export": _("导出日志"),
    "audit.head.seal_anew": _("重新封存留痕末端"),
    "audit.trail.verify": _("核验留痕"),
    "catalogue.classification.import": _("导入分类体系"),
    "catalogue.entry.create": _("新建目录"),
    "catalogue.entry.publish": _("发布目录"),
    "catalogue.entry.withdraw": _("撤销目录"),
    "catalogue.secrecy.refuse": _("拒收涉密标识内容"),
    "catalogue.version.discard": _("放弃目录修订"),
    "catalogue.version.pass_department": _("目录部门审核通过"),
    "catalogue.version.return": _("退回目录"),
    "catalogue.version.revise": _("开始修订目录"),
    "catalogue.version.save": _("保存目录草稿"),
    "catalogue.version.sign_head": _("签发目录"),
    "catalogue.version.submit": _("提交目录审核"),
    "catalogue.workbook.import": _("导入目录工作簿"),
    "exchange.binding.bind": _("挂接数据"),
    "exchange.command.fail": _("节点指令失败"),
    "exchange.evidence.accept": _("接收调用证据"),
    "exchange.key.issue": _("签发应用密钥"),
    "exchange.key.revoke": _("吊销应用密钥"),
    "exchange.node.expect": _("登记节点"),
    "exchange.node.heard_again": _("节点恢复联系"),
    "exchange.bundle.make": _("导出摆渡包"),
    "exchange.bundle.take": _("导入摆渡包"),
    "exchange.node.approve": _("核准节点"),
    "exchange.node.register": _("节点接入"),
    "exchange.node.rotate": _("节点更换密钥"),
    "exchange.run.resend": _("重传数据块"),
    "exchange.source.reseal": _("重新密封口令"),
    "exchange.node.renew_code": _("重发接入码"),
    "exchange.node.resume": _("恢复节点"),
    "exchange.node.retire": _("停用节点"),
    "exchange.node.silent": _("节点失联"),
    "exchange.node.suspend": _("暂停节点"),
    "exchange.run.failed": _("交换运行失败"),
    "exchange.run.hand_over": _("移交数据"),
    "exchange.run.reconcile": _("对账完成"),
    "exchange.run.retry": _("重试交换运行"),
    "exchange.run.start": _("启动交换运行"),
    "exchange.run.stop": _("停止交换运行"),
    "exchange.service.attach": _("挂接应用到查询服务"),
    "exchange.service.detach": _("从查询服务取下应用"),
    "exchange.service.limit": _("调整查询服务限额"),
    "exchange.service.make": _("开通查询服务"),
    "exchange.service.resume": _("恢复查询服务"),
    "exchange.service.suspend": _("暂停查询服务"),
    "exchange.service.take_over": _("查询服务转用新授权"),
    "exchange.source.add": _("登记数据源"),
    "exchange.source.answer": _("数据源答复"),
    "exchange.source.change": _("修改数据源"),
    "exchange.source.change_password": _("更换数据源口令"),
    "exchange.source.list_tables": _("列出数据表"),
    "exchange.source.test": _("测试数据源连接"),
    "exchange.task.configure": _("配置交换任务"),
    "exchange.task.end": _("结束交换任务"),
    "exchange.task.limit": _("调整交换任务限速"),
    "exchange.task.make": _("建立交换任务"),
    "exchange.task.pause": _("暂停交换任务"),
    "exchange.task.resume": _("恢复交换任务"),
    "exchange.task.take_over": _("交换任务转用新授权"),
    "sharing.change.approve": _("审批授权变更"),
    "sharing.change.propose": _("提出授权变更"),
    "sharing.decision.approve": _("审批答复"),
    "sharing.decision.draft": _("拟定答复"),
    "sharing.decision.return": _("退回答复"),
    "sharing.extension.ask": _("申请延期答复"),
    "sharing.extension.decide": _("审批延期答复"),
    "sharing.grant.ending": _("提醒授权将到期"),
    "sharing.grant.expire": _("授权到期"),
    "sharing.grant.make": _("形成授权"),
    "sharing.grant.note_filing": _("记录备案"),
    "sharing.grant.provide": _("提供数据"),
    "sharing.grant.provision_overdue": _("提供数据逾期"),
    "sharing.grant.replace": _("更换授权"),
    "sharing.grant.resume": _("恢复授权"),
    "sharing.grant.revoke": _("撤销授权"),
    "sharing.grant.suspend": _("暂停授权"),
    "sharing.request.approve": _("审批共享申请"),
    "sharing.request.ask_papers": _("要求补充材料"),
    "sharing.request.draft": _("起草共享申请"),
    "sharing.request.overdue": _("答复逾期"),
    "sharing.request.return": _("退回共享申请"),
    "sharing.request.save": _("保存共享申请"),
    "sharing.request.submit": _("提交共享申请"),
    "sharing.request.supply_papers": _("补充材料"),
    "sharing.request.withdraw": _("撤回共享申请"),
    "workflow.attachment.add": _("上传附件"),
    "workflow.calendar.enter": _("录入放假安排"),
    "workflow.clock.extend": _("延长时限"),
    "workflow.clock.fix": _("确定到期日"),
    "workflow.clock.pause": _("暂停计时"),
    "workflow.clock.resume": _("恢复计时"),
    "workflow.clock.start": _("开始计时"),
    "workflow.clock.stop": _("停止计时"),
    "workflow.sign_off.sign": _("签批"),
}


_ACTORS: dict[str, Text] = {
    "平台": _("平台"),
    "未登录者": _("未登录者"),
    "未识别的调用方": _("未识别的调用方"),
}
"""Actors that are nobody: the trail keeps them in Chinese."""


def actor_word(name: str) -> Text:
    """Who acted: a name as it is kept, the platform itself in the reader's language."""
    return _ACTORS.get(name, name)


def action_word(action: str) -> Text:
    """The action in words; its code where it has none (an event of an older version)."""
    return ACTION_WORDS.get(action, action)


def actions_named(text: str) -> tuple[str, ...]:
    """Actions whose words, in the reader's language, hold the text."""
    wanted = text.strip().casefold()
    return tuple(action for action, word in ACTION_WORDS.items() if wanted in str(word).casefold())
